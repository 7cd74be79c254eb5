# Step 1: the policy writes compositional prompts.


rule prompts:
    input:
        ckpt=policy_before,
        avoid=AVOIDED,
    output:
        prompts="<results>/{lmm}/seed{seed}/{arm}/iter{t}/prompts.jsonl",
        stats="<results>/{lmm}/seed{seed}/{arm}/iter{t}/prompts.stats.json",
    log:
        "<results>/logs/{lmm}/seed{seed}/{arm}/iter{t}/prompts.log",
    benchmark:
        "<results>/benchmarks/{lmm}/seed{seed}/{arm}/iter{t}/prompts.tsv"
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, 64000),
        runtime=by_size(30, 2880),
        gpu=by_size(0, 1),
    params:
        settings=settings_of("prompts"),
        state=journal_of("prompts"),
        avoid=shlex.join(["--avoid", *AVOID] if AVOID else []),
        sources=sources_of("stages.prompts"),
    shell:
        "python -m silmm prompts --ckpt {input.ckpt} --seed {wildcards.seed} --iteration {wildcards.t}"
        " --out {output.prompts} --stats {output.stats} --state {params.state} --threads 1 {params.settings} {params.avoid} 2>&1 | tee {log}"
