# The counterparts of the paper's tables and figures, each with the arms that it names in the config (`figures`): a
# target of its own, and a script in paper_figures/ that draws it from a summary of those arms alone.

TABLES = [name for name in PAPER if name.startswith("table_")]
# What the scripts share.
SHARED = collect(
    f"{workflow.basedir}/paper_figures/{{name}}.py",
    name=["common", "panels", "published", "tabular"],
)


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


# The csv holds every number drawn.
rule paper:
    input:
        summary="<results>/paper/{figure}/summary.csv",
        gains="<results>/paper/{figure}/gains.csv",
        script=f"{workflow.basedir}/paper_figures/{{figure}}.py",
        shared=SHARED,
    output:
        png=report(
            "<results>/paper/{figure}.png",
            caption="../report/paper.rst",
            category="After the paper",
            labels=shown("picture"),
        ),
        pdf="<results>/paper/{figure}.pdf",
        drawn=report(
            "<results>/paper/{figure}.csv",
            caption="../report/numbers.rst",
            category="After the paper",
            labels=shown("numbers (table)"),
        ),
    log:
        "<results>/logs/paper/{figure}.log",
    benchmark:
        "<results>/benchmarks/paper/{figure}.tsv"
    wildcard_constraints:
        figure="|".join(name for name in PAPER if name not in TABLES) or "none",
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=10,
    params:
        sources=source_hash("report.summarize"),
    shell:
        "python {input.script} --summary {input.summary} --gains {input.gains} --out {output.png} 2>&1 | tee {log}"


# A table is written in LaTeX, too.
use rule paper as paper_table with:
    output:
        png=report(
            "<results>/paper/{figure}.png",
            caption="../report/paper.rst",
            category="After the paper",
            labels=shown("picture"),
        ),
        pdf="<results>/paper/{figure}.pdf",
        drawn=report(
            "<results>/paper/{figure}.csv",
            caption="../report/numbers.rst",
            category="After the paper",
            labels=shown("numbers (table)"),
        ),
        latex="<results>/paper/{figure}.tex",
    wildcard_constraints:
        figure="|".join(TABLES) or "none",


# `snakemake table_2` makes the table, and whatever it needs.
for name in PAPER:

    rule:
        name:
            name
        input:
            f"<results>/paper/{name}.png",
