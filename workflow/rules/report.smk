# What came out: the summary, the figure, and pictures before and after.


# Every metric of every policy in one table, and what was gained over the base in another.
rule summarize:
    input:
        tables=judged_files("eval.parquet"),
        stats=judged_files("eval.stats.json"),
    output:
        summary=report(
            "<results>/summary.csv",
            caption="../report/summary.rst",
            category="Numbers",
            labels={"result": "every metric (table)", "LMM": "all"},
        ),
        gains=report(
            "<results>/gains.csv",
            caption="../report/gains.rst",
            category="Numbers",
            labels={"result": "differences (table)", "LMM": "all"},
        ),
    log:
        "<results>/logs/summarize.log",
    benchmark:
        "<results>/benchmarks/summarize.tsv"
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=15,
    params:
        entries=entry_options,
        sources=source_hash("report.summarize"),
    shell:
        "python -m silmm summarize {params.entries} --out {output.summary} --gains-out {output.gains} 2>&1 | tee {log}"


# Accuracy by iteration, a figure for each LMM; the csv holds every number drawn.
rule accuracy:
    input:
        summary="<results>/summary.csv",
        gains="<results>/gains.csv",
    output:
        png=report(
            "<results>/figures/accuracy_{lmm}.png",
            caption="../report/accuracy.rst",
            category="Numbers",
            labels={"result": "accuracy by iteration", "LMM": "{lmm}"},
        ),
        pdf="<results>/figures/accuracy_{lmm}.pdf",
        drawn="<results>/figures/accuracy_{lmm}.csv",
    log:
        "<results>/logs/accuracy_{lmm}.log",
    benchmark:
        "<results>/benchmarks/accuracy_{lmm}.tsv"
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=10,
    params:
        sources=source_hash("report.accuracy"),
    shell:
        "python -m silmm figure --lmm {wildcards.lmm} --summary {input.summary} --gains {input.gains}"
        " --out {output.png} 2>&1 | tee {log}"


# The same prompts, drawn by the base and by the main arm's last policy (first seed).
rule contact_sheet:
    input:
        base=f"<results>/{{lmm}}/seed{SEEDS[0]}/base/ckpt",
        after=last_policy,
    output:
        report(
            "<results>/contact_sheet_{lmm}.png",
            caption="../report/contact_sheet.rst",
            category="Pictures",
            labels={"pictures": "base and last policy", "LMM": "{lmm}"},
        ),
    log:
        "<results>/logs/contact_sheet_{lmm}.log",
    benchmark:
        "<results>/benchmarks/contact_sheet_{lmm}.tsv"
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        seed=SEEDS[0],
        sources=sources_of("stages.contact_sheet"),
    shell:
        "python -m silmm contact-sheet --base {input.base} --after {input.after} --seed {params.seed}"
        " --out {output} --threads 1 2>&1 | tee {log}"


# Ten samples of the same prompts as step 2 draws them, by the base and by the main arm's last policy (first seed).
# A continuous LMM's differ by DivDrop alone: the decoder's noise is one a prompt.
rule sample_sheet:
    input:
        base=f"<results>/{{lmm}}/seed{SEEDS[0]}/base/ckpt",
        after=last_policy,
    output:
        report(
            "<results>/samples_{lmm}.png",
            caption="../report/sample_sheet.rst",
            category="Pictures",
            labels={"pictures": "ten samples of a prompt", "LMM": "{lmm}"},
        ),
    log:
        "<results>/logs/sample_sheet_{lmm}.log",
    benchmark:
        "<results>/benchmarks/sample_sheet_{lmm}.tsv"
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        seed=SEEDS[0],
        settings=main_settings_of("images"),
        sources=sources_of("stages.sample_sheet"),
    shell:
        "python -m silmm sample-sheet --base {input.base} --after {input.after} --seed {params.seed} --out {output}"
        " --threads 1 {params.settings} --n 10 --noise prompt --noises 1 2>&1 | tee {log}"
