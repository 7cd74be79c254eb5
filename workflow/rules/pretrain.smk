# Iteration 0: the base, copied from the repository where it was made with these settings, or trained: a discrete LMM from
# scratch, a continuous one from the discrete base of its seed.


rule pretrain:
    input:
        unpack(base_files),
    output:
        ckpt=directory("<results>/{lmm}/seed{seed}/base/ckpt"),
    log:
        "<results>/logs/{lmm}/seed{seed}/base/pretrain.log",
    benchmark:
        "<results>/benchmarks/{lmm}/seed{seed}/base/pretrain.tsv"
    wildcard_constraints:
        lmm=either(arms.SHAPEWORLD),
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=120,
    params:
        settings=settings_of("pretrain"),
        base=base_options,
        state=state_beside,
        sources=sources_of("stages.pretrain"),
    shell:
        "python -m silmm pretrain --lmm {wildcards.lmm} --seed {wildcards.seed} {params.base}"
        " --out {output.ckpt} --state {params.state} --threads 1 {params.settings} 2>&1 | tee {log}"
