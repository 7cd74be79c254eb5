# Step 3: the policy splits each prompt into yes/no questions.


rule questions:
    input:
        ckpt=policy_before,
        prompts=made_by("prompts", "prompts.jsonl"),
    output:
        qa="<results>/{lmm}/seed{seed}/{arm}/iter{t}/qa.jsonl",
        stats="<results>/{lmm}/seed{seed}/{arm}/iter{t}/qa.stats.json",
    log:
        "<results>/logs/{lmm}/seed{seed}/{arm}/iter{t}/questions.log",
    benchmark:
        "<results>/benchmarks/{lmm}/seed{seed}/{arm}/iter{t}/questions.tsv"
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, 64000),
        runtime=by_size(30, 2880),
        gpu=by_size(0, 1),
    params:
        settings=settings_of("questions"),
        state=journal_of("questions"),
        sources=sources_of("stages.questions"),
    shell:
        "python -m silmm questions --ckpt {input.ckpt} --prompts {input.prompts}"
        " --out {output.qa} --stats {output.stats} --state {params.state} --threads 1 {params.settings} 2>&1 | tee {log}"
