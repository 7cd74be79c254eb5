"""The benchmarks by name. Nothing heavy is imported before one is asked for."""

from __future__ import annotations

from silmm.benchmarks.interface import Benchmark

BENCHMARKS = {  # name on the command line: what it is
    "t2i_compbench++": "attributes, layout, relations: 8 categories, 10 pictures a prompt",
    "dpg_bench": "dense prompts of 67 words, questions that depend on each other",
    "dpg_bench_1": "the same with one picture a prompt",
    "geneval2": "800 prompts of 3 to 10 atoms, by a VLM's probabilities (Soft-TIFA)",
    "tifa": "4,081 prompts, questions with several answers to choose from",
    "geneval": "553 prompts on objects, by a detector",
    "dsg_1k": "1,060 prompts, questions that depend on each other",
}


def get(name: str) -> Benchmark:
    """The benchmark with this name, of BENCHMARKS.

    Import statements and not names of modules, because `silmm.sources` follows these.
    """
    from silmm.benchmarks import geneval2
    from silmm.benchmarks.dpg import benchmark as dpg
    from silmm.benchmarks.dpg import dsg, single
    from silmm.benchmarks.geneval import benchmark as geneval
    from silmm.benchmarks.t2i_compbench import benchmark as t2i_compbench
    from silmm.benchmarks.tifa import benchmark as tifa

    modules = (t2i_compbench, dpg, single, geneval2, tifa, geneval, dsg)
    return {module.BENCHMARK.name: module.BENCHMARK for module in modules}[name]
