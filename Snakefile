"""The closed loop of SILMM: a base, then per iteration prompts, images, questions, scores, pairs and alignment.

Run it with `snakemake --cores all`; the keys of the configuration are explained in config/README.md.
"""

from snakemake.utils import min_version

min_version("9.23.0")


configfile: f"{workflow.basedir}/config/default.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/slurm.smk"
include: "workflow/rules/files.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/adopt.smk"
include: "workflow/rules/prompts.smk"
include: "workflow/rules/images.smk"
include: "workflow/rules/questions.smk"
include: "workflow/rules/score.smk"
include: "workflow/rules/pairs.smk"
include: "workflow/rules/align.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/divdrop.smk"
include: "workflow/rules/curves.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/paper.smk"
include: "workflow/rules/main_arms.smk"
include: "workflow/rules/diversity.smk"
include: "workflow/rules/audit.smk"
include: "workflow/rules/gallery.smk"
include: "workflow/rules/cost.smk"
include: "workflow/rules/benchmark_files.smk"
include: "workflow/rules/benchmark.smk"


# The summary of all runs, and the figures; of a pretrained LMM, its last policies and what became of prompts and pairs.
rule all:
    default_target: True
    input:
        OUTCOME,


# All figures, with those after the paper's that a run does not draw unasked: an hour on two cores with one seed.
rule figures:
    input:
        ALL_FIGURES,


# The bases: iteration 0 of every LMM and seed.
rule base:
    input:
        BASES,


onstart:
    print(what_will_be_made(), file=sys.stderr)
    require(missing_weights() + missing_benchmarks() + NOT_AVOIDED)


onsuccess:
    print(where_to_look(), file=sys.stderr)
