# Figures 5 and 6, whose numbers no evaluation has: strategies of diversity, and DivDrop's rates, on the base.


# Ten samples of each prompt by every strategy, with one decoder noise a prompt (first seed).
rule diversity:
    input:
        ckpt=f"<results>/{{lmm}}/seed{SEEDS[0]}/base/ckpt",
    output:
        "<results>/paper/figure_5/diversity_{lmm}.parquet",
    log:
        "<results>/logs/paper/figure_5/diversity_{lmm}.log",
    benchmark:
        "<results>/benchmarks/paper/figure_5/diversity_{lmm}.tsv"
    wildcard_constraints:
        lmm="continuous",
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=30,
    params:
        seed=SEEDS[0],
        settings=main_settings_of("images"),
        sources=sources_of("stages.diversity"),
    shell:
        "python -m silmm diversity --ckpt {input.ckpt} --seed {params.seed} --out {output} --threads 1"
        " {params.settings} --n 10 --noise prompt --noises 1 2>&1 | tee {log}"


# The paper's Figure 5: four strategies, box by box.
rule figure_5:
    input:
        measured="<results>/paper/figure_5/diversity_continuous.parquet",
        script=f"{workflow.basedir}/paper_figures/figure_5.py",
        shared=[
            f"{workflow.basedir}/paper_figures/common.py",
            f"{workflow.basedir}/paper_figures/measured.py",
        ],
    output:
        png=report(
            "<results>/paper/figure_5.png",
            caption="../report/figure_5.rst",
            category="After the paper",
            labels=shown("picture", "figure_5"),
        ),
        pdf="<results>/paper/figure_5.pdf",
        drawn=report(
            "<results>/paper/figure_5.csv",
            caption="../report/numbers.rst",
            category="After the paper",
            labels=shown("numbers (table)", "figure_5"),
        ),
    log:
        "<results>/logs/paper/figure_5.log",
    benchmark:
        "<results>/benchmarks/paper/figure_5.tsv"
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=10,
    params:
        sources=source_hash("report.divdrop_grid"),
    shell:
        "python {input.script} --measured {input.measured} --out {output.png} 2>&1 | tee {log}"


# The paper's Figure 6: the best of ten by rate, of DivDrop's grid.
rule figure_6:
    input:
        measured="<results>/figures/divdrop_grid_continuous.csv",
        script=f"{workflow.basedir}/paper_figures/figure_6.py",
        shared=[
            f"{workflow.basedir}/paper_figures/common.py",
            f"{workflow.basedir}/paper_figures/measured.py",
        ],
    output:
        png=report(
            "<results>/paper/figure_6.png",
            caption="../report/figure_6.rst",
            category="After the paper",
            labels=shown("picture", "figure_6"),
        ),
        pdf="<results>/paper/figure_6.pdf",
        drawn=report(
            "<results>/paper/figure_6.csv",
            caption="../report/numbers.rst",
            category="After the paper",
            labels=shown("numbers (table)", "figure_6"),
        ),
    log:
        "<results>/logs/paper/figure_6.log",
    benchmark:
        "<results>/benchmarks/paper/figure_6.tsv"
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=10,
    params:
        layers=main_layers,
        sources=source_hash("report.divdrop_grid"),
    shell:
        "python {input.script} --measured {input.measured} --layers {params.layers} --out {output.png} 2>&1 | tee {log}"
