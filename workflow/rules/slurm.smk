# What SLURM's executor needs of the workflow (workflow/profiles/slurm).

import os
from pathlib import Path

# Where SLURM_CONF names SLURM's configuration, the executor (jobstep 0.6.1) starts `srun` in a job without it, and srun
# ends with "Could not establish a configuration source". The job's own Snakemake reads this file first.
if "SLURM_JOB_ID" in os.environ and "SLURM_CONF" in os.environ:
    with_its_srun = [
        str(Path(workflow.basedir, "workflow/scripts/slurm_conf").resolve()),
        os.environ.get("PATH", os.defpath),
    ]
    os.environ.update(
        SILMM_SLURM_CONF=os.environ.get("SLURM_CONF"),
        PATH=os.pathsep.join(with_its_srun),
    )
