# Iteration 0 of a pretrained LMM: its weights where they are, and a LoRA adapter that changes nothing yet.


rule adopt:
    input:
        weights_files,
    output:
        ckpt=directory("<results>/{lmm}/seed{seed}/base/ckpt"),
    log:
        "<results>/logs/{lmm}/seed{seed}/base/adopt.log",
    benchmark:
        "<results>/benchmarks/{lmm}/seed{seed}/base/adopt.tsv"
    wildcard_constraints:
        lmm=either(arms.ADOPTED),
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=30,
    params:
        settings=settings_of("adopt"),
        sources=sources_of("stages.adopt"),
    shell:
        "python -m silmm adopt --family {wildcards.lmm} --seed {wildcards.seed} --out {output.ckpt} --threads 1"
        " {params.settings} 2>&1 | tee {log}"


# Random weights of a tiny model in the family's own layout: what config/tiny/ runs on.
rule random_weights:
    output:
        weights=directory("<results>/{lmm}/random_weights"),
    log:
        "<results>/logs/{lmm}/random_weights.log",
    benchmark:
        "<results>/benchmarks/{lmm}/random_weights.tsv"
    wildcard_constraints:
        lmm=either(arms.ADOPTED),
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        sources=lambda wildcards: source_hash(
            f"lmm.{wildcards.lmm}.tiny", wildcards.lmm
        ),
    shell:
        "python -m silmm.lmm.{wildcards.lmm}.tiny --out {output.weights} --seed 0 2>&1 | tee {log}"
