# Step 5: preference optimisation; the result is the next policy, and the next reference.


rule align:
    input:
        ckpt=policy_before,
        pairs=made_by("pairs", "pairs.parquet"),
        prompts=made_by("prompts", "prompts.jsonl"),
        qa=made_by("questions", "qa.jsonl"),
        images=all_shards("images", "images/shard-{shard}"),
    output:
        ckpt=directory("<results>/{lmm}/seed{seed}/{arm}/iter{t}/ckpt"),
    log:
        "<results>/logs/{lmm}/seed{seed}/{arm}/iter{t}/align.log",
    benchmark:
        "<results>/benchmarks/{lmm}/seed{seed}/{arm}/iter{t}/align.tsv"
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=memory(3000, 64000),
        runtime=by_size(120, 2880),
        gpu=by_size(0, 1),
        timeout=timeout_of,  # no parameter: with another one, nothing is made again
    params:
        settings=settings_of("align"),
        state=state_beside,
        curves=curves_of,
        sources=sources_of("stages.align"),
    shell:
        "python -m silmm align --ckpt {input.ckpt} --pairs {input.pairs} --prompts {input.prompts} --qa {input.qa}"
        " --images {input.images} --seed {wildcards.seed} --iteration {wildcards.t}"
        " --out {output.ckpt} --state {params.state} --tensorboard {params.curves} --processes {resources.gpu}"
        " --timeout {resources.timeout} --threads 1 {params.settings} 2>&1 | tee {log}"
