# Self-feedback audited by the oracle: what it says of a policy's own answers in steps 3 and 4.


# The oracle on every answer of one iteration.
rule audit:
    input:
        prompts=made_by("prompts", "prompts.jsonl"),
        qa=made_by("questions", "qa.jsonl"),
        scores=made_by("score", "scores.parquet"),
        images=all_shards("images", "images/shard-{shard}"),
    output:
        "<results>/{lmm}/seed{seed}/{arm}/iter{t}/audit.parquet",
    log:
        "<results>/logs/{lmm}/seed{seed}/{arm}/iter{t}/audit.log",
    benchmark:
        "<results>/benchmarks/{lmm}/seed{seed}/{arm}/iter{t}/audit.tsv"
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=15,
    params:
        sources=sources_of("stages.audit"),
    shell:
        "python -m silmm audit --prompts {input.prompts} --qa {input.qa} --scores {input.scores}"
        " --images {input.images} --out {output} --threads 1 2>&1 | tee {log}"


# Not in the paper: are the answers right that an LMM learns from (main arm, first seed).
rule figure_audit:
    input:
        judged=audited_files,
        script=f"{workflow.basedir}/paper_figures/figure_audit.py",
        shared=[
            f"{workflow.basedir}/paper_figures/audit_numbers.py",
            f"{workflow.basedir}/paper_figures/common.py",
            f"{workflow.basedir}/paper_figures/measured.py",
        ],
    output:
        png=report(
            "<results>/paper/figure_audit.png",
            caption="../report/figure_audit.rst",
            category="After the paper",
            labels=shown("picture", "figure_audit"),
        ),
        pdf="<results>/paper/figure_audit.pdf",
        drawn=report(
            "<results>/paper/figure_audit.csv",
            caption="../report/numbers.rst",
            category="After the paper",
            labels=shown("numbers (table)", "figure_audit"),
        ),
    log:
        "<results>/logs/paper/figure_audit.log",
    benchmark:
        "<results>/benchmarks/paper/figure_audit.tsv"
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=10,
    params:
        policies=audited_options,
        sources=source_hash("report.summarize"),
    shell:
        "python {input.script} {params.policies} --out {output.png} 2>&1 | tee {log}"
