# A page to look through: what every policy of the main arms draws, asks, answers, and what the oracle says.


rule gallery:
    input:
        ckpts=[folder for *_, folder in policies()],
        page=collect(
            "{root}/src/silmm/report/gallery.{part}",
            root=workflow.basedir,
            part=["html", "css", "js"],
        ),
    output:
        report(
            "<results>/gallery.html",
            caption="../report/gallery.rst",
            category="Pictures",
            labels={"pictures": "gallery to look through", "LMM": "all"},
        ),
    log:
        "<results>/logs/gallery.log",
    benchmark:
        "<results>/benchmarks/gallery.tsv"
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=15,
    params:
        ckpts=policy_options,
        seed=SEEDS[0],
        sources=source_hash("stages.gallery", *arms.SHAPEWORLD),
    shell:
        "python -m silmm gallery {params.ckpts} --seed {params.seed} --out {output} --threads 1 2>&1 | tee {log}"
