# The judge: the exact oracle looks at what a policy draws for held-out compositions.


rule evaluate:
    input:
        unpack(judged_data),
    output:
        table="<results>/{lmm}/seed{seed}/{arm}/iter{t}/eval.parquet",
        stats="<results>/{lmm}/seed{seed}/{arm}/iter{t}/eval.stats.json",
    log:
        "<results>/logs/{lmm}/seed{seed}/{arm}/iter{t}/evaluate.log",
    benchmark:
        "<results>/benchmarks/{lmm}/seed{seed}/{arm}/iter{t}/evaluate.tsv"
    wildcard_constraints:
        lmm=either(arms.SHAPEWORLD),
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=60,
    params:
        data=judged_options,
        settings=settings_of("evaluate"),
        sources=sources_of("stages.evaluate"),
    shell:
        "python -m silmm evaluate --ckpt {input.ckpt} --seed {wildcards.seed} {params.data}"
        " --out {output.table} --stats {output.stats} --threads 1 {params.settings} 2>&1 | tee {log}"


# The base, judged in the same way: iteration 0 of every arm.
use rule evaluate as evaluate_base with:
    input:
        ckpt="<results>/{lmm}/seed{seed}/base/ckpt",
    output:
        table="<results>/{lmm}/seed{seed}/base/eval.parquet",
        stats="<results>/{lmm}/seed{seed}/base/eval.stats.json",
    log:
        "<results>/logs/{lmm}/seed{seed}/base/evaluate.log",
    benchmark:
        "<results>/benchmarks/{lmm}/seed{seed}/base/evaluate.tsv"
