# The counterparts of the paper's tables and figures, each with the arms that it names in the config (`figures`): a
# target of its own, and a script in paper_figures/ that draws it from a summary of those arms alone.

PAPER = sorted({figure for plan in PLANS.values() for figure in plan.figures})


# What `summarize` makes, of a figure's arms.
use rule summarize as summarize_figure with:
    output:
        summary="<results>/paper/{figure}/summary.csv",
        gains="<results>/paper/{figure}/gains.csv",
    log:
        "<results>/logs/paper/{figure}/summarize.log",
    benchmark:
        "<results>/benchmarks/paper/{figure}/summarize.tsv"
    wildcard_constraints:
        figure="|".join(PAPER) or "none",


# The csv holds every number drawn; a table is written in LaTeX, too.
rule paper:
    input:
        summary="<results>/paper/{figure}/summary.csv",
        gains="<results>/paper/{figure}/gains.csv",
        script=f"{workflow.basedir}/paper_figures/{{figure}}.py",
        shared=f"{workflow.basedir}/paper_figures/common.py",
    output:
        png=report(
            "<results>/paper/{figure}.png",
            caption="../report/paper.rst",
            category="After the paper",
            labels={"figure": "{figure}"},
        ),
        pdf="<results>/paper/{figure}.pdf",
        drawn="<results>/paper/{figure}.csv",
    log:
        "<results>/logs/paper/{figure}.log",
    benchmark:
        "<results>/benchmarks/paper/{figure}.tsv"
    wildcard_constraints:
        figure="|".join(PAPER) or "none",
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        sources=source_hash("report.summarize"),
    shell:
        "python {input.script} --summary {input.summary} --gains {input.gains} --out {output.png} 2>&1 | tee {log}"


# `snakemake table_2` makes the table, and whatever it needs.
for name in PAPER:

    rule:
        name:
            name
        input:
            f"<results>/paper/{name}.png",
