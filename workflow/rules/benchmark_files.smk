# The functions that find what a benchmark of pretrained LMMs needs, and the options that depend on it.

from silmm.benchmarks import registry

DRAW, JUDGE = "benchmark_images", "benchmark_scores"  # rules
POLICY = r"base|(?!base\b)[a-z][a-z0-9_]*/iter[1-9]\d*"  # where a checkpoint stands, below its seed
JUDGED_BY = either(map(re.escape, BENCHMARKS)) or "none"
IN_TABLE_1 = [name for name in BENCHMARKS if name in benchmark_config.IN_TABLE_1]
TINY_JUDGES = "<results>/tiny_judges"


def benchmark_shards(wildcards):
    """The folders of a benchmark's pictures by one policy."""
    folder = f"<results>/{wildcards.lmm}/seed{wildcards.seed}/{wildcards.policy}"
    shards = range(BENCHMARKS[wildcards.benchmark].shards)
    return [
        f"{folder}/benchmark_images/{wildcards.benchmark}/shard-{shard}"
        for shard in shards
    ]


def official_files(wildcards):
    """The folder of a benchmark's official files, as far as it is there."""
    folder = BENCHMARKS[wildcards.benchmark].data
    return [folder] if Path(folder).is_dir() else []


def judges_files(wildcards):
    """The files of a benchmark's judges, as far as they are there; the folders of those that are made here."""
    folders = BENCHMARKS[wildcards.benchmark].judges.values()
    files = [
        str(path)
        for folder in folders
        if not is_tiny_judge(folder) and Path(folder).is_dir()
        for path in Path(folder).glob("*")
        if path.is_file()
    ]
    made = [Path(folder).name for folder in folders if is_tiny_judge(folder)]
    return [*(f"{TINY_JUDGES}/{kind}" for kind in made), *sorted(files)]


def is_tiny_judge(folder):
    """Whether a folder of the config is that of a tiny judge, which is made here."""
    return Path(folder).parent == Path(RESULTS, "tiny_judges")


def of_benchmark(option):
    """A params function: what `option` gives of the wildcards' benchmark."""
    return lambda wildcards: option(BENCHMARKS[wildcards.benchmark])


def drawing_of(wildcards):
    """The options that say how to sample: the main arm's, but without DivDrop."""
    plan = plan_of(wildcards)
    return benchmark_config.drawing(next(iter(plan.arms.values())).settings["images"])


def state_of(wildcards, output):
    """What an interrupted job goes on with: no output, because Snakemake deletes those of a job that failed."""
    out = Path(str(output[0]))
    return str(out.with_name(f"state-{out.name}"))


def missing_benchmarks():
    """One line for each folder that the benchmarks of this run need, and that is neither there nor made here."""
    jobs = [
        job for job in workflow.dag.needrun_jobs() if job.rule.name in (DRAW, JUDGE)
    ]
    names = {job.wildcards.benchmark for job in jobs}
    return [
        line
        for name in BENCHMARKS
        if name in names
        for line in missing_of(BENCHMARKS[name], registry.get(name))
    ]


def missing_of(chosen, official):
    """The same of one benchmark."""
    where = f"config: benchmarks.{official.name}"
    if not Path(chosen.data).is_dir():
        yield (
            f"{where}.data is {chosen.data}: no such folder: get the official files ({official.commit}), or name the"
            " folder with them"
        )
    roles = {role for category in chosen.only for role in official.roles_of(category)}
    for role in sorted(roles) or official.judges:
        folder = chosen.judges.get(role, "")
        if not folder or not (is_tiny_judge(folder) or Path(folder).is_dir()):
            yield (
                f"{where}.judges.{role} is {folder or 'not given'}: no such folder: download a judge (the official one"
                f" is {official.judges[role]}), or name the folder with it"
            )


def policies_to_judge(every):
    """(lmm, arm, seed, iteration, folder): bases and main arms' policies of pretrained LMMs, a base before its arm's;
    without `every`, of the first seed, and after the last iteration alone."""
    for lmm, plan in ADOPTED.items():
        arm = next(iter(plan.arms.values()))
        for seed in SEEDS if every else SEEDS[:1]:
            folder = f"<results>/{lmm}/seed{seed}"
            yield lmm, "base", seed, 0, f"{folder}/base"
            for t in range(1 if every else arm.iterations, arm.iterations + 1):
                yield lmm, arm.name, seed, t, f"{folder}/{arm.name}/iter{t}"


def all_scores(every, names):
    """The scores of these benchmarks of those policies; a policy's stand together."""
    return [
        f"{folder}/benchmark/{name}"
        for *_, folder in policies_to_judge(every)
        for name in names
    ]


def table_1_scores(wildcards):
    """What the paper's Table 1 has of the config's benchmarks."""
    if not ADOPTED or not IN_TABLE_1:
        raise WorkflowError(
            "config: benchmarks names none of those in the paper's Table 1"
            f" ({', '.join(benchmark_config.IN_TABLE_1)}) for a pretrained LMM (lmms): name one, with its data and its"
            " judges"
        )
    return all_scores(False, IN_TABLE_1)


def table_1_options(wildcards, input):
    """One --entry a policy; the scores stand in the order of `table_1_scores`."""
    folders = [Path(scores).parent for scores in input.scores[:: len(IN_TABLE_1)]]
    each = zip(policies_to_judge(False), folders)
    entries = [f"--entry {entry(*policy, folder)}" for (*policy, _), folder in each]
    return " ".join([*entries, "--benchmarks", *IN_TABLE_1])
