# The functions that find a file of an iteration, wherever it is made, and the options that depend on them.

import itertools
import os
from pathlib import Path


include: "weights.smk"
include: "avoid.smk"


SEEDS = next(iter(PLANS.values())).seeds
SHARDS = range(next(iter(PLANS.values())).shards)
BASES = collect("<results>/{lmm}/seed{seed}/base/ckpt", lmm=PLANS, seed=SEEDS)
# The LMMs of ShapeWorld, whose pictures the oracle judges, and those that are pretrained.
JUDGED = {lmm: plan for lmm, plan in PLANS.items() if lmm in arms.SHAPEWORLD}
ADOPTED = {lmm: plan for lmm, plan in PLANS.items() if lmm in arms.ADOPTED}
# Tables and figures that name their arms in the config.
PAPER = sorted({figure for plan in JUDGED.values() for figure in plan.figures})
# What each of these, and others after the paper's, is about.
ABOUT = {
    "table_1": "what self-improvement gains, by group",
    "table_1_pretrained": "public benchmarks, base and after self-improvement",
    "table_2": "ways to ask and to score",
    "table_3": "pooling and distance",
    "figure_3": "iterations, by sub-category",
    "figure_4a": "number of prompts",
    "figure_4b": "pairs a prompt",
    "figure_5": "ways to make samples differ",
    "figure_6": "DivDrop's rate",
    "figure_7a": "DPO's beta",
    "figure_7b": "KC-DPO's gamma",
    "figure_audit": "own answers against the oracle's",
    "figure_filters": "filters of pairs",
    "figure_funnel": "what became of prompts, images and pairs",
    "figure_cost": "seconds and memory of every stage",
    "figure_judge": "how good a judge must be",
}
FUNNEL = "paper/figure_funnel.png"
# What there is to look at: every run draws these, `snakemake figures` the last ones too, and those of PAPER.
OF_EACH = {
    "figures/accuracy_{lmm}.png": "accuracy by iteration, with the controls",
    "contact_sheet_{lmm}.png": "the same prompts drawn by the base and the last policy",
    "samples_{lmm}.png": "ten samples of one prompt, by the base and the last policy",
}
OF_CONTINUOUS = {"figures/kc_dpo_curves.png": "how KC-DPO trained"}
ON_REQUEST = {
    "gallery.html": "prompts by iterations, with questions, answers and verdicts: open it in a browser",
    **{
        f"paper/figure_{name}.png": ABOUT[f"figure_{name}"]
        for name in ("audit", "funnel", "cost")
    },
}
CONTINUOUS_ON_REQUEST = {
    "figures/divdrop_grid_continuous.png": "DivDrop's rates and layers",
    **{f"paper/{name}.png": ABOUT[name] for name in ("figure_5", "figure_6")},
}
FIGURES = [
    *(f"<results>/{name}".format(lmm=lmm) for name in OF_EACH for lmm in JUDGED),
    *(f"<results>/{name}" for name in OF_CONTINUOUS if "continuous" in PLANS),
]
ALL_FIGURES = [
    *FIGURES,
    *(f"<results>/paper/{name}.png" for name in PAPER),
    *(f"<results>/{name}" for name in ON_REQUEST if JUDGED or name == FUNNEL),
    *(f"<results>/{name}" for name in CONTINUOUS_ON_REQUEST if "continuous" in PLANS),
]
# The last policy of every arm of a pretrained LMM: nothing judges it here.
LAST_POLICIES = [
    f"<results>/{lmm}/seed{seed}/{plan.home(arm.name, arm.iterations, 'align')}/iter{arm.iterations}/ckpt"
    for lmm, plan in ADOPTED.items()
    for seed in SEEDS
    for arm in plan.arms.values()
    if arm.unasked
]
RESULTS = config.get("pathvars", {}).get("results", "results")
# What a run makes unasked.
OUTCOME = [
    *(["<results>/summary.csv", "<results>/gains.csv", *FIGURES] if JUDGED else []),
    *([*LAST_POLICIES, f"<results>/{FUNNEL}"] if ADOPTED else []),
]


def plan_of(wildcards):
    """The plan of the wildcards' LMM; one that the config does not name has the plan of its own section too."""
    return PLANS.get(wildcards.lmm) or arms.plan(config, wildcards.lmm)


def made_by(stage, name):
    """An input function: the file `name` of a stage in this iteration, wherever it is made; `{{shard}}` is open."""

    def path(wildcards):
        home = plan_of(wildcards).home(wildcards.arm, int(wildcards.t), stage)
        return f"<results>/{wildcards.lmm}/seed{wildcards.seed}/{home}/iter{wildcards.t}/{name}"

    return path


def all_shards(stage, name):
    """An input function: the file `name` (with `{{shard}}`) of every shard."""

    def paths(wildcards):
        return [made_by(stage, name)(wildcards).format(shard=shard) for shard in SHARDS]

    return paths


def policy_before(wildcards):
    """The checkpoint that an iteration starts from and draws its data with."""
    folder = f"<results>/{wildcards.lmm}/seed{wildcards.seed}"
    t = int(wildcards.t) - 1
    return (
        f"{folder}/{plan_of(wildcards).home(wildcards.arm, t, 'align')}/iter{t}/ckpt"
        if t
        else f"{folder}/base/ckpt"
    )


def settings_of(stage):
    """A params function: the options with the settings of a stage, in the wildcards' arm."""

    def options(wildcards):
        return plan_of(wildcards).options(stage, wildcards.get("arm"))

    return options


def timeout_of(wildcards):
    """A resource: how long the processes of one alignment wait for each other, in seconds."""
    return plan_of(wildcards).arms[wildcards.arm].settings["align"].timeout


def main_settings_of(stage):
    """A params function: the options with the settings of a stage, in the main arm."""

    def options(wildcards):
        plan = plan_of(wildcards)
        return plan.options(stage, next(iter(plan.arms)))

    return options


def sources_of(*modules):
    """A hash of the sources that these modules use for the LMM of a job: another LMM's do not count."""

    def hashes(wildcards):
        return " ".join(source_hash(module, wildcards.lmm) for module in modules)

    return hashes


def state_beside(wildcards, output):
    """Resumable training state: no output, because Snakemake deletes the outputs of a job that failed."""
    return str(Path(output.ckpt).with_name("state"))


def curves_of(wildcards, output):
    """TensorBoard's files, no output either: they hold times and the machine's name."""
    parts = [
        wildcards.lmm,
        f"seed{wildcards.seed}",
        wildcards.arm,
        f"iter{wildcards.t}",
    ]
    return str(Path(str(output.ckpt)).parents[4].joinpath("tensorboard", *parts))


def journal_of(stage):
    """A params function: where a stage keeps the texts so far, no output either."""

    def folder(wildcards, output):
        return str(Path(output.stats).with_name("state") / stage)

    return folder


def shipped_folder(lmm, seed):
    """The base checkpoint that comes with the repository, as a path from the working directory; None for no such."""
    folder = PLANS[lmm].shipped.get(int(seed)) if lmm in PLANS else None
    path = Path(workflow.basedir, folder) if folder else None
    return os.path.relpath(path) if path and path.is_dir() else None


def base_files(wildcards):
    """What a base is made of: the shipped one's files, a discrete base, or nothing."""
    folder = shipped_folder(wildcards.lmm, wildcards.seed)
    if folder:
        files = [str(path) for path in Path(folder).iterdir() if path.is_file()]
        return {"shipped": sorted(files)}
    if wildcards.lmm == "continuous":
        return {"start": f"<results>/discrete/seed{wildcards.seed}/base/ckpt"}
    return {}


def base_options(wildcards, input):
    folder = shipped_folder(wildcards.lmm, wildcards.seed)
    if folder:
        return f"--shipped {shlex.quote(folder)}"
    return f"--start {input.start}" if wildcards.lmm == "continuous" else ""


def judged_data(wildcards):
    """The iteration's own data, for the quality of its pairs; none for an arm that does not train."""
    if not plan_of(wildcards).arms[wildcards.arm].train:
        return {"ckpt": policy_before(wildcards)}
    return {
        "ckpt": made_by("align", "ckpt")(wildcards),
        "pairs": made_by("pairs", "pairs.parquet")(wildcards),
        "prompts": made_by("prompts", "prompts.jsonl")(wildcards),
        "images": all_shards("images", "images/shard-{shard}")(wildcards),
    }


def judged_options(wildcards, input):
    """The options that hand over the data of `judged_data`."""
    names = [name for name in ("pairs", "prompts", "images") if name in input.keys()]
    return " ".join(f"--{name} {input.get(name)}" for name in names)


def judged(figure=None):
    """(lmm, arm, seed, iteration, folder) of every row of the summary, or of a figure's; a base before its arms."""
    for lmm, seed in itertools.product(JUDGED, SEEDS):
        if figure and figure not in PLANS[lmm].figures:
            continue
        folder = f"<results>/{lmm}/seed{seed}"
        yield lmm, "base", seed, 0, f"{folder}/base"
        for entry in PLANS[lmm].entries(figure):
            yield lmm, entry.arm, seed, entry.iteration, f"{folder}/{entry.home}/iter{entry.iteration}"


def judged_files(name):
    """An input function: the file `name` of every policy that is judged for the wildcards' figure, or for the summary."""

    def files(wildcards):
        return [f"{folder}/{name}" for *_, folder in judged(wildcards.get("figure"))]

    return files


def role_of(lmm, arm):
    """The part of an --entry that says what an arm is to its run; nothing for the base and for controls."""
    arms_of_lmm = PLANS[lmm].arms
    if arm == next(iter(arms_of_lmm)):
        return ",role=main"
    return ",role=untrained" if arm != "base" and not arms_of_lmm[arm].train else ""


def entry(lmm, arm, seed, t, folder):
    """What names a policy, and its folder, on the command line."""
    return f"lmm={lmm},arm={arm},seed={seed},iteration={t}{role_of(lmm, arm)},dir={shlex.quote(str(folder))}"


def entry_options(wildcards, input):
    """One --entry a judged policy; the tables stand in the order of `judged`."""
    return " ".join(
        f"--entry {entry(lmm, arm, seed, t, Path(table).parent)}"
        for (lmm, arm, seed, t, _), table in zip(
            judged(wildcards.get("figure")), input.tables
        )
    )


def alignments():
    """(arm, iteration, checkpoint folder); arms that share an iteration's checkpoint are drawn once."""
    if "continuous" not in PLANS:
        raise WorkflowError(
            f"lmms is {config['lmms']}: only a continuous LMM has KC-DPO's curves"
        )
    plan = PLANS["continuous"]
    for name, arm in plan.arms.items():
        for t in range(1, arm.iterations + 1) if arm.train and arm.unasked else ():
            if plan.home(name, t, "align") == name:
                folder = f"<results>/continuous/seed{SEEDS[0]}/{name}/iter{t}/ckpt"
                yield name, t, folder


def aligned_options(wildcards, input):
    """One --aligned each; the folders stand in the order of `alignments`."""
    return " ".join(
        f"--aligned {entry('continuous', arm, SEEDS[0], t, folder)}"
        for (arm, t, _), folder in zip(alignments(), input.ckpts)
    )


def last_policy(wildcards):
    """The first arm's policy after its last iteration, with the first seed."""
    arm = next(iter(plan_of(wildcards).arms.values()))
    folder = f"<results>/{wildcards.lmm}/seed{SEEDS[0]}"
    return f"{folder}/{arm.name}/iter{arm.iterations}/ckpt"


def shown(what, name=None):
    """A report's labels of a table or figure after the paper's, the wildcards' one without a name."""

    def labels(wildcards):
        figure = name or wildcards.figure
        about = f": {ABOUT[figure]}" if figure in ABOUT else ""
        return {"figure": f"{figure}{about}", "what": what}

    return labels


def what_will_be_made():
    """The arms and bases of this run, and what each ablation makes anew: the rest it shares with the arms before it."""
    lines = []
    for lmm, plan in PLANS.items():
        run = [arm for arm in plan.arms.values() if arm.unasked]
        names = ", ".join(f"{arm.name} (to iteration {arm.iterations})" for arm in run)
        lines.append(f"  arms of {lmm}: {names}")
        anew = {}
        for arm in plan.arms.values():
            if not arm.unasked:
                own = [
                    s for s in arms.ARM_STAGES if plan.home(arm.name, 1, s) == arm.name
                ]
                anew.setdefault(", ".join(own), []).append(arm.name)
        if anew:
            lines.append(
                f"  ablations of {lmm}, for figures alone, by the steps they repeat:"
            )
        lines += [f"    {own}: {', '.join(names)}" for own, names in anew.items()]
        for seed in SEEDS:
            shipped = shipped_folder(lmm, seed)
            made = f"from {plan.shipped[seed]}" if shipped else "trained"
            if lmm in ADOPTED:
                made = f"adopted, of the weights {', '.join(weights_of(lmm).values())}"
            lines.append(f"  base {lmm} seed {seed}: {made}")
    lines += [*missing_weights(), *NOT_AVOIDED]
    return "\n".join(["silmm: this run has", *lines])


# Snakemake calls `onstart` for real runs alone, and does not tell a Snakefile that it is read for a dry one.
if any(re.fullmatch("--dry-?run|-[a-zA-Z]*n[a-zA-Z]*", word) for word in sys.argv[1:]):
    print(what_will_be_made(), file=sys.stderr)


def where_to_look():
    made = {
        "summary.csv": "every metric of every policy, with intervals",
        "gains.csv": "paired differences to the base and between arms",
        **{
            name.format(lmm=lmm): f"{text} ({lmm})"
            for name, text in OF_EACH.items()
            for lmm in JUDGED
        },
        **{
            policy.removeprefix("<results>/"): "the last policy of an arm"
            for policy in LAST_POLICIES
        },
        **{
            name: f"{text} (continuous)"
            for name, text in (OF_CONTINUOUS | CONTINUOUS_ON_REQUEST).items()
        },
        **ON_REQUEST,
        **{
            f"paper/{name}.png": ABOUT.get(name, "of the config's arms")
            for name in PAPER
        },
    }
    lines = [
        f"  {RESULTS}/{name:<36} {text}"
        for name, text in made.items()
        if Path(RESULTS, name).exists()
    ]
    return "\n".join(["silmm: done. Look at", *lines]) if lines else "silmm: done."
