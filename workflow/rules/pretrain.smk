# Iteration 0: the base, trained from scratch, or copied from the repository where it was made with these settings.


rule pretrain:
    input:
        shipped_files,
    output:
        ckpt=directory("<results>/{lmm}/seed{seed}/base/ckpt"),
    log:
        "<results>/logs/{lmm}/seed{seed}/base/pretrain.log",
    benchmark:
        "<results>/benchmarks/{lmm}/seed{seed}/base/pretrain.tsv"
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=120,
    params:
        settings=settings_of("pretrain"),
        shipped=shipped_option,
        state=state_beside,
        sources=source_hash("stages.pretrain"),
    shell:
        "python -m silmm pretrain --lmm {wildcards.lmm} --seed {wildcards.seed} {params.shipped}"
        " --out {output.ckpt} --state {params.state} --threads 1 {params.settings} 2>&1 | tee {log}"
