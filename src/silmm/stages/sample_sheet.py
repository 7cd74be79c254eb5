"""Several samples of the same held-out prompts, drawn by two policies with the same random numbers as step 2 draws."""

from __future__ import annotations

from pathlib import Path

from silmm.errors import InputError
from silmm.lmm.interface import Sampling
from silmm.lmm.sampler import NOISE_WORDS, sampling_of
from silmm.report.sample_sheet import Strip, sample_sheet
from silmm.settings import Images
from silmm.shapeworld import exam
from silmm.shapeworld.language import CORE, SUBCATEGORIES
from silmm.stages.pictures import tokens_of
from silmm.stages.runtime import prepare
from silmm.stages.verdicts import verdicts
from silmm.stages.worlds import load_judged


def run(settings: Images, *, base: Path, after: Path, seed: int, out: Path, threads: int = 1) -> None:
    """Draw `settings.n` samples of the first prompt of each sub-category of `core`, judge by the oracle, write one PNG.

    Random numbers (DivDrop's masks, the decoder's noise) are named by prompt and sample, and so the same for both
    policies. InputError for settings that do not fit a policy.
    """
    prepare(threads)
    tests = [t for t in exam.prompts(len(SUBCATEGORIES)) if t.subcategory in CORE]
    keys = [[(seed, "samples", t.id, k) for k in range(settings.n)] for t in tests]
    sampling = sampling_of(settings)._replace(noises=1)  # one picture a sample
    sides = []
    for folder in (base, after):
        policy = load_judged(folder)
        try:
            tokens_PNL = tokens_of(policy.draw([t.prompt for t in tests], keys, sampling))
        except ValueError as error:
            raise InputError(f"{folder}: {error}") from None
        sides.append(
            [verdicts(policy, [t.spec] * settings.n, tokens) for t, tokens in zip(tests, tokens_PNL, strict=True)]
        )
    strips = [
        Strip(t.prompt, t.subcategory, old.pictures_NHWC, new.pictures_NHWC, old.whole_N, new.whole_N)
        for t, old, new in zip(tests, *sides, strict=True)
    ]
    lines = [
        f"ShapeWorld, held-out prompts: {settings.n} samples of each, base and last iteration",
        f"{_how(sampling, policy.images)}; seed {seed}; the first prompt of each sub-category, unselected",
    ]
    sample_sheet(strips, out, lines)


def _how(sampling: Sampling, images: str) -> str:
    """How the samples of a prompt come to differ, for people."""
    if images == "discrete":
        return f"drawn at temperature {sampling.temperature:g}, top-p {sampling.top_p:g}"
    layers = f"the last {sampling.layers} layers" if sampling.layers != 1 else "the last layer"
    return f"drawn by DivDrop with rate {sampling.rate:g} in {layers}, {NOISE_WORDS[sampling.noise]}"
