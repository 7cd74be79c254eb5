# Step 4, first half: the policy answers its own questions on its own images, shard by shard.


rule score:
    input:
        ckpt=policy_before,
        qa=made_by("questions", "qa.jsonl"),
        images=made_by("images", "images/shard-{shard}"),
    output:
        scores="<results>/{lmm}/seed{seed}/{arm}/iter{t}/scores/shard-{shard}.parquet",
    log:
        "<results>/logs/{lmm}/seed{seed}/{arm}/iter{t}/score-{shard}.log",
    benchmark:
        "<results>/benchmarks/{lmm}/seed{seed}/{arm}/iter{t}/score-{shard}.tsv"
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, 64000),
        runtime=by_size(60, 2880),
        gpu=by_size(0, 1),
    params:
        settings=settings_of("score"),
        sources=sources_of("stages.score"),
    shell:
        "python -m silmm score --ckpt {input.ckpt} --qa {input.qa} --images {input.images}"
        " --out {output.scores} --threads 1 {params.settings} 2>&1 | tee {log}"


# The shards' rows in one table.
rule gather:
    input:
        all_shards("score", "scores/shard-{shard}.parquet"),
    output:
        "<results>/{lmm}/seed{seed}/{arm}/iter{t}/scores.parquet",
    log:
        "<results>/logs/{lmm}/seed{seed}/{arm}/iter{t}/gather.log",
    benchmark:
        "<results>/benchmarks/{lmm}/seed{seed}/{arm}/iter{t}/gather.tsv"
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=memory(500),
        runtime=5,
    params:
        sources=source_hash("records"),
    shell:
        "python -m silmm gather {input} --out {output} 2>&1 | tee {log}"
