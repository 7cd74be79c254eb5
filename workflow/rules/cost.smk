# What became of prompts, images and pairs in the main arms' iterations, and what every stage cost.

OF_FUNNEL = ["qa.stats.json", "scores.parquet", "pairs.parquet", "pairs.stats.json"]
OF_FUNNEL += [f"images/shard-{shard}" for shard in SHARDS]
TIMED = ["prompts", "questions", "gather", "pairs", "align"]
TIMED += [f"{stage}-{shard}" for stage in ("images", "score") for shard in SHARDS]


rule figure_funnel:
    input:
        each=[
            f"<results>/{folder_of(*step)}/prompts.stats.json"
            for step in main_iterations()
        ],
        others=[
            f"<results>/{folder_of(*step)}/{name}"
            for step in main_iterations()
            for name in OF_FUNNEL
        ],
        script=f"{workflow.basedir}/paper_figures/figure_funnel.py",
        shared=collect(
            "{root}/paper_figures/{name}.py",
            root=workflow.basedir,
            name=["common", "steps", "tabular"],
        ),
    output:
        png=report(
            "<results>/paper/figure_funnel.png",
            caption="../report/funnel.rst",
            category="Funnel and cost",
            labels=shown("picture", "figure_funnel"),
        ),
        pdf="<results>/paper/figure_funnel.pdf",
        drawn=report(
            "<results>/paper/figure_funnel.csv",
            caption="../report/numbers.rst",
            category="Funnel and cost",
            labels=shown("numbers (table)", "figure_funnel"),
        ),
        tex="<results>/paper/figure_funnel.tex",
    log:
        "<results>/logs/paper/figure_funnel.log",
    benchmark:
        "<results>/benchmarks/paper/figure_funnel.tsv"
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=10,
    params:
        steps=lambda wildcards, input: step_options(main_iterations(), input.each),
        sources=source_hash("report.funnel"),
    shell:
        "python {input.script} {params.steps} --out {output.png} 2>&1 | tee {log}"


# Of the benchmark files that the jobs' rules write.
rule figure_cost:
    input:
        each=[
            f"<results>/benchmarks/{folder_of(*step)}/evaluate.tsv"
            for step in with_bases()
        ],
        others=[
            f"<results>/benchmarks/{folder_of(*step)}/{name}.tsv"
            for step in with_bases()
            for name in (TIMED if step[3] else ["pretrain"])
        ],
        script=f"{workflow.basedir}/paper_figures/figure_cost.py",
        shared=collect(
            "{root}/paper_figures/{name}.py",
            root=workflow.basedir,
            name=["common", "steps", "tabular"],
        ),
    output:
        png=report(
            "<results>/paper/figure_cost.png",
            caption="../report/cost.rst",
            category="Funnel and cost",
            labels=shown("picture", "figure_cost"),
        ),
        pdf="<results>/paper/figure_cost.pdf",
        drawn=report(
            "<results>/paper/figure_cost.csv",
            caption="../report/numbers.rst",
            category="Funnel and cost",
            labels=shown("numbers (table)", "figure_cost"),
        ),
        tex="<results>/paper/figure_cost.tex",
    log:
        "<results>/logs/paper/figure_cost.log",
    benchmark:
        "<results>/benchmarks/paper/figure_cost.tsv"
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=10,
    params:
        steps=lambda wildcards, input: step_options(with_bases(), input.each),
        sources=source_hash("report.cost"),
    shell:
        "python {input.script} {params.steps} --out {output.png} 2>&1 | tee {log}"
