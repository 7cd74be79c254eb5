# What all rules share: the checked config and the environment of the jobs.
# Which arm makes a shared file is decided in src/silmm/arms.py; which sources a stage uses, in src/silmm/sources.py.

import re
import shlex
import sys
from pathlib import Path

from snakemake.utils import validate

sys.path.insert(0, str(Path(workflow.basedir) / "src"))

from silmm import arms, benchmark_config, config_files, job_logs, takeover
from silmm.errors import InputError
from silmm.sources import source_hash

try:
    # Snakemake itself takes the last of two keys with one name.
    for file in workflow.configfiles:
        config_files.read(Path(file))
    config.update(arms.typed(config))
    PLANS = arms.plans(config)
    BENCHMARKS = benchmark_config.benchmarks(config)
except InputError as error:
    raise WorkflowError(str(error)) from None
config["shipped"] = {
    lmm: {str(seed): folder for seed, folder in (seeds or {}).items()}
    for lmm, seeds in (config.get("shipped") or {}).items()
}
validate(config, "../schemas/config.schema.yaml")


# One that was killed leaves locks behind, which would stand in the way of the same command given again.
if workflow.is_main_process:
    RUNS = takeover.join_runs(Path(".snakemake"))
    job_logs.listen(workflow)


# Jobs run this checkout's package with the Python that runs Snakemake, or with the one of the conda environment.
# The glibc settings halve the system time of training on virtual machines; the rest keeps two jobs on two cores
# from fighting over them.
job_environment = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "2147483647",
    "MALLOC_TOP_PAD_": "268435456",
    "MALLOC_ARENA_MAX": "1",
    "MKL_DYNAMIC": "FALSE",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "PYTHONPATH": str(Path(workflow.basedir) / "src"),
}
exports = " ".join(
    f"{name}={shlex.quote(value)}" for name, value in job_environment.items()
)
if not workflow.deployment_settings.deployment_method:
    exports += f' PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"'
exports += " SILMM_RUN=$PPID"  # jobs end with the Snakemake that started them
exports = exports.replace("{", "{{").replace("}", "}}")
shell.prefix(f"set -euo pipefail; export {exports}; ")


def either(names):
    """A wildcard's constraint: one of these."""
    return "|".join(names)


wildcard_constraints:
    lmm=either(arms.LMMS),
    seed=r"\d+",
    arm=r"(?!base\b)[a-z][a-z0-9_]*",
    t=r"[1-9]\d*",
    shard=r"\d+",


# Targets and small tables: on a cluster, these run where Snakemake runs.
localrules:
    all,
    base,
    benchmarks,
    figures,
    gather,
