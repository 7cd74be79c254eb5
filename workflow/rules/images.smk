# Step 2: N diverse images a prompt, in shards of whole prompts.


rule images:
    input:
        ckpt=policy_before,
        prompts=made_by("prompts", "prompts.jsonl"),
    output:
        images=directory(
            "<results>/{lmm}/seed{seed}/{arm}/iter{t}/images/shard-{shard}"
        ),
    log:
        "<results>/logs/{lmm}/seed{seed}/{arm}/iter{t}/images-{shard}.log",
    benchmark:
        "<results>/benchmarks/{lmm}/seed{seed}/{arm}/iter{t}/images-{shard}.tsv"
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, 64000),
        runtime=by_size(60, 2880),
        gpu=by_size(0, 1),
    params:
        settings=settings_of("images"),
        shards=len(SHARDS),
        sources=sources_of("stages.images"),
    shell:
        "python -m silmm images --ckpt {input.ckpt} --prompts {input.prompts} --seed {wildcards.seed}"
        " --iteration {wildcards.t} --shard {wildcards.shard}/{params.shards} --out {output.images}"
        " --threads 1 {params.settings} 2>&1 | tee {log}"
