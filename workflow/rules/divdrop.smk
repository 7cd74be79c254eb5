# What a continuous LMM's settings of step 2 were chosen by: DivDrop's rates and numbers of layers on the base.


# Ten samples of each prompt that differ by DivDrop alone: the decoder's noise is one a prompt (first seed).
rule divdrop_grid:
    input:
        ckpt=f"<results>/{{lmm}}/seed{SEEDS[0]}/base/ckpt",
    output:
        png=report(
            "<results>/figures/divdrop_grid_{lmm}.png",
            caption="../report/divdrop_grid.rst",
            category="The continuous LMM",
            labels={"figure": "DivDrop's rates and layers"},
        ),
        pdf="<results>/figures/divdrop_grid_{lmm}.pdf",
        measured="<results>/figures/divdrop_grid_{lmm}.csv",
    log:
        "<results>/logs/divdrop_grid_{lmm}.log",
    benchmark:
        "<results>/benchmarks/divdrop_grid_{lmm}.tsv"
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
        sources=sources_of("stages.divdrop_grid"),
    shell:
        "python -m silmm divdrop-grid --ckpt {input.ckpt} --seed {params.seed} --out {output.png}"
        " --threads 1 {params.settings} --n 10 --noise prompt --noises 1 2>&1 | tee {log}"
