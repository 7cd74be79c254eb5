# Public benchmarks of pretrained LMMs, drawn and judged where `table_1` or `benchmarks` asks for it.


# The official pictures of a benchmark, in shards of whole blocks of prompts.
rule benchmark_images:
    input:
        ckpt="<results>/{lmm}/seed{seed}/{policy}/ckpt",
        data=official_files,
    output:
        images=directory(
            "<results>/{lmm}/seed{seed}/{policy}/benchmark_images/{benchmark}/shard-{shard}"
        ),
    log:
        "<results>/logs/{lmm}/seed{seed}/{policy}/benchmark_images-{benchmark}-{shard}.log",
    benchmark:
        "<results>/benchmarks/{lmm}/seed{seed}/{policy}/benchmark_images-{benchmark}-{shard}.tsv"
    wildcard_constraints:
        lmm=either(arms.ADOPTED),
        policy=POLICY,
        benchmark=JUDGED_BY,
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, 64000),
        runtime=by_size(60, 2880),
        gpu=by_size(0, 1),
    params:
        data=of_benchmark(lambda one: shlex.quote(one.data)),
        part=of_benchmark(lambda one: one.part()),
        shards=of_benchmark(lambda one: one.shards),
        settings=drawing_of,
        state=state_of,
        sources=sources_of("stages.images", "stages.benchmark_blocks"),
    shell:
        "python -m silmm benchmark-images {wildcards.benchmark} --ckpt {input.ckpt} --data {params.data} {params.part}"
        " --shard {wildcards.shard}/{params.shards} --out {output.images} --state {params.state} --threads 1"
        " {params.settings} 2>&1 | tee {log}"


# What judges see in them, and the scores.
rule benchmark_scores:
    input:
        images=benchmark_shards,
        data=official_files,
        judges=judges_files,
    output:
        scores=directory("<results>/{lmm}/seed{seed}/{policy}/benchmark/{benchmark}"),
    log:
        "<results>/logs/{lmm}/seed{seed}/{policy}/benchmark-{benchmark}.log",
    benchmark:
        "<results>/benchmarks/{lmm}/seed{seed}/{policy}/benchmark-{benchmark}.tsv"
    wildcard_constraints:
        lmm=either(arms.ADOPTED),
        policy=POLICY,
        benchmark=JUDGED_BY,
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=memory(3000, 64000),
        runtime=by_size(60, 2880),
        gpu=by_size(0, 1),
    params:
        data=of_benchmark(lambda one: shlex.quote(one.data)),
        part=of_benchmark(lambda one: one.part()),
        judges=of_benchmark(lambda one: one.judge_options()),
        state=state_of,
        sources=lambda wildcards: source_hash("stages.benchmark", wildcards.benchmark),
    shell:
        "python -m silmm benchmark {wildcards.benchmark} --images {input.images} --data {params.data} {params.part}"
        " {params.judges} --lmm {wildcards.lmm}/{wildcards.policy} --out {output.scores} --state {params.state}"
        " --threads 1 2>&1 | tee {log}"


# Random weights of a tiny judge in the published layout: what config/tiny/ runs on.
rule tiny_judge:
    output:
        weights=directory(f"{TINY_JUDGES}/{{kind}}"),
    log:
        "<results>/logs/tiny_judges/{kind}.log",
    benchmark:
        "<results>/benchmarks/tiny_judges/{kind}.tsv"
    wildcard_constraints:
        kind="[a-z0-9_-]+",
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        sources=source_hash("benchmarks.judges.tiny"),
    shell:
        "python -m silmm.benchmarks.judges.tiny --kind {wildcards.kind} --out {output.weights} 2>&1 | tee {log}"


# Every benchmark of the config, of every iteration and seed.
rule benchmarks:
    input:
        all_scores(True, BENCHMARKS),


# The paper's Table 1 of pretrained LMMs: base and main arm's last policy, with the first seed.
rule table_1_pretrained:
    input:
        scores=table_1_scores,
        script=f"{workflow.basedir}/paper_figures/table_1_pretrained.py",
        shared=SHARED,
    output:
        png=report(
            "<results>/paper/table_1_pretrained.png",
            caption="../report/table_1_pretrained.rst",
            category="After the paper",
            labels=shown("picture", "table_1_pretrained"),
        ),
        pdf="<results>/paper/table_1_pretrained.pdf",
        drawn=report(
            "<results>/paper/table_1_pretrained.csv",
            caption="../report/numbers.rst",
            category="After the paper",
            labels=shown("numbers (table)", "table_1_pretrained"),
        ),
        tex="<results>/paper/table_1_pretrained.tex",
    log:
        "<results>/logs/paper/table_1_pretrained.log",
    benchmark:
        "<results>/benchmarks/paper/table_1_pretrained.tsv"
    conda:
        "../../envs/silmm.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        entries=table_1_options,
        sources=source_hash("report.benchmark_table"),
    shell:
        "python {input.script} {params.entries} --out {output.png} 2>&1 | tee {log}"


# Beside ShapeWorld's, whose table has the same name, where it has one.
if "table_1" not in PAPER:

    rule table_1:
        input:
            "<results>/paper/table_1_pretrained.png",
