# How KC-DPO trained: the curves of every alignment of the continuous LMM, with the first seed.


# The csv holds every number drawn; docs/reading_kc_dpo.md says how to read it.
rule kc_dpo_curves:
    input:
        ckpts=lambda wildcards: [folder for *_, folder in alignments()],
        summary="<results>/summary.csv",
    output:
        png=report(
            "<results>/figures/kc_dpo_curves.png",
            caption="../report/kc_dpo_curves.rst",
            category="The continuous LMM",
            labels={"figure": "how KC-DPO trained"},
        ),
        pdf="<results>/figures/kc_dpo_curves.pdf",
        drawn="<results>/figures/kc_dpo_curves.csv",
    log:
        "<results>/logs/kc_dpo_curves.log",
    benchmark:
        "<results>/benchmarks/kc_dpo_curves.tsv"
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=10,
    params:
        aligned=aligned_options,
        sources=source_hash("report.kc_dpo_curves"),
    shell:
        "python -m silmm kc-dpo-curves {params.aligned} --summary {input.summary} --out {output.png} 2>&1 | tee {log}"
