# The functions that find the iterations of the main arms, for the tables and the page that go through them.


def main_iterations():
    """(lmm, arm, seed, iteration) of the main arms, in the order of the tables."""
    for lmm, seed in itertools.product(PLANS, SEEDS):
        arm = next(iter(PLANS[lmm].arms.values()))
        for t in range(1, arm.iterations + 1):
            yield lmm, arm.name, seed, t


def with_bases():
    """The same of the LMMs that are judged, with each LMM's and seed's base before its iterations."""
    for lmm, arm, seed, t in main_iterations():
        if lmm not in JUDGED:
            continue
        if t == 1:
            yield lmm, "base", seed, 0
        yield lmm, arm, seed, t


def folder_of(lmm, arm, seed, t):
    """An iteration's folder, below the results or below their benchmarks."""
    arm_folder = f"{lmm}/seed{seed}/{arm}"
    return f"{arm_folder}/iter{t}" if t else arm_folder


def step_options(steps, files):
    """One --entry an iteration, for the scripts of these tables; each file stands in its iteration's folder."""
    return " ".join(
        f"--entry {entry(*step, Path(file).parent)}" for step, file in zip(steps, files)
    )


def policies():
    """(lmm, iteration, checkpoint folder) of the judged LMMs' bases and main arms' policies, with the first seed."""
    for lmm, plan in JUDGED.items():
        arm = next(iter(plan.arms.values()))
        folder = f"<results>/{lmm}/seed{SEEDS[0]}"
        yield lmm, 0, f"{folder}/base/ckpt"
        for t in range(1, arm.iterations + 1):
            yield lmm, t, f"{folder}/{arm.name}/iter{t}/ckpt"


def policy_options(wildcards, input):
    """One --ckpt-of each; the folders stand in the order of `policies`."""
    return " ".join(
        f"--ckpt-of lmm={lmm},iteration={t},dir={shlex.quote(str(folder))}"
        for (lmm, t, _), folder in zip(policies(), input.ckpts)
    )


def main_layers(wildcards):
    """In how many last layers step 2 drops."""
    plan = PLANS.get("continuous") or arms.plan(config, "continuous")
    return next(iter(plan.arms.values())).settings["images"].layers


def audited_folders(lmm):
    """The base's folder, and those of the main arm's iterations, with the first seed."""
    return [str(Path(ckpt).parent) for name, _, ckpt in policies() if name == lmm]


def audited_files(wildcards):
    """What is drawn of every LMM; a base has drawn nothing to be trained on."""
    judged = ("eval.parquet", "eval.stats.json")
    return [
        f"{folder}/{name}"
        for lmm in JUDGED
        for t, folder in enumerate(audited_folders(lmm))
        for name in (*judged, *(("audit.parquet", "pairs.parquet") if t else ()))
    ]


def audited_options(wildcards, input):
    """One --policies an LMM; the files stand in the order of `audited_files`."""
    folders = iter(dict.fromkeys(str(Path(path).parent) for path in input.judged))
    return " ".join(
        shlex.join(["--policies", lmm, *(next(folders) for _ in audited_folders(lmm))])
        for lmm in JUDGED
    )
