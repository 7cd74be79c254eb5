# Step 4, second half: best and worst images of a prompt make preference pairs.


rule pairs:
    input:
        scores=made_by("score", "scores.parquet"),
        qa=made_by("questions", "qa.jsonl"),
        images=all_shards("images", "images/shard-{shard}"),
    output:
        pairs="<results>/{lmm}/seed{seed}/{arm}/iter{t}/pairs.parquet",
        stats="<results>/{lmm}/seed{seed}/{arm}/iter{t}/pairs.stats.json",
    log:
        "<results>/logs/{lmm}/seed{seed}/{arm}/iter{t}/pairs.log",
    benchmark:
        "<results>/benchmarks/{lmm}/seed{seed}/{arm}/iter{t}/pairs.tsv"
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=15,
    params:
        settings=settings_of("pairs"),
        sources=source_hash("stages.pairs"),
    shell:
        "python -m silmm pairs --scores {input.scores} --qa {input.qa} --images {input.images}"
        " --seed {wildcards.seed} --iteration {wildcards.t} --out {output.pairs} --stats {output.stats}"
        " --threads 1 {params.settings} 2>&1 | tee {log}"
