"""The settings of every stage: one frozen dataclass a stage, the only place where defaults live.

The command line makes its options from these fields, the workflow passes its config sections through
them, and a test holds `workflow/schemas/config.schema.yaml` and `config/README.md` against them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

MOST = 10_000_000  # of whatever a whole number counts, where a field says no less: a slip of the keyboard is beyond


def _doc(default: Any, text: str, **limits: Any) -> Any:
    """A field with its help text and, where given, its limits (`low`, `above`, `high`, `choices`); `result=False` where
    no file depends on it."""
    return field(default=default, metadata={"help": text, **limits})


@dataclass(frozen=True)
class Pretrain:
    """Train a tiny LMM on ShapeWorld from scratch (tokenizer, then transformer)."""

    steps: int = _doc(1500, "optimiser steps of the first phase, which teaches to look", low=1)
    paint_steps: int = _doc(1400, "optimiser steps of the second phase, which teaches to draw", low=0)
    vq_steps: int = _doc(1200, "optimiser steps of the visual tokenizer", low=1)
    width: int = _doc(96, "hidden width of the transformer", low=8, high=65_536)
    layers: int = _doc(4, "decoder layers", low=1, high=1000)
    heads: int = _doc(4, "attention heads", low=1, high=1000)
    codes: int = _doc(224, "codebook entries of the visual tokenizer", low=2, high=1_000_000)
    lr: float = _doc(3e-3, "peak learning rate", above=0.0)
    spoil_steps: int = _doc(120, "continuous: optimiser steps on wrong captions, after all others", low=0)
    queries: int = _doc(8, "continuous: dream queries", low=1, high=1000)
    blocks: int = _doc(2, "continuous: transformer blocks of the flow decoder", low=1, high=1000)
    spoiled: float = _doc(
        0.15, "share of captions with one wrong word late in the second phase: an imperfect painter", low=0.0, high=1.0
    )
    mismatched: float = _doc(0.15, "share of captions that are another picture's, likewise", low=0.0, high=1.0)


@dataclass(frozen=True)
class Adopt:
    """Make a base of a pretrained LMM: its weights where they are, and a LoRA adapter that changes nothing yet."""

    weights: str = _doc("", "folder of the model, as it is published (Emu3: the one that generates)")
    chat: str = _doc("", "Emu3: folder of the model that writes and answers; empty: the same")
    visual: str = _doc("", "SEED-LLaMA: folder of the tokenizer of pictures, with eva_vit_g.pth beside its files")
    diffusion: str = _doc(
        "", "SEED-LLaMA, DreamLLM: folder of the diffusion pipeline that turns their output to pictures"
    )
    rank: int = _doc(64, "LoRA's rank", low=1)
    alpha: int = _doc(128, "LoRA's alpha: its output is scaled by alpha / rank", low=1)
    dtype: str = _doc("bfloat16", "of the frozen weights; LoRA's are float32", choices=("bfloat16", "float32"))
    rows: int = _doc(16, "most sequences per forward pass: results do not depend on it, memory does", low=1)
    side: int = _doc(0, "Emu3: side of its square pictures in pixels (0: what the checkpoint says)", low=0)
    steps: int = _doc(0, "SEED-LLaMA, DreamLLM: steps of the diffusion decoder (0: its authors' number)", low=0)
    guidance: float = _doc(
        0.0, "SEED-LLaMA, DreamLLM: guidance of the diffusion decoder (0: its authors' number)", low=0.0
    )
    features: str = _doc(
        "",
        "DreamLLM: what KC-DPO compares, before or after the projector (empty: before)",
        choices=("", "hidden", "projected"),
    )
    painting: str = _doc(
        "",
        "DreamLLM: dtype of the diffusion decoder's U-Net (empty: as dtype); its authors painted in float32",
        choices=("", "float32"),
    )
    template: str = _doc(
        "",
        "SEED-LLaMA, which needs it: words around what is said, vicuna (of the 8B model) or llama2 (of the 14B one)",
        choices=("", "vicuna", "llama2"),
    )


@dataclass(frozen=True)
class Prompts:
    """Step 1: the policy writes compositional prompts."""

    n: int = _doc(320, "prompts to keep, spread evenly over the eight sub-categories", low=1)
    temperature: float = _doc(1.0, "sampling temperature", low=0.01)
    attempts: int = _doc(8, "most drafts per prompt wanted before the stage gives up", low=1)


@dataclass(frozen=True)
class Images:
    """Step 2: N diverse images a prompt, by nucleus sampling (discrete) or DivDrop (continuous)."""

    n: int = _doc(8, "images per prompt", low=2, high=10_000)
    temperature: float = _doc(1.0, "discrete: sampling temperature", low=0.01)
    top_p: float = _doc(
        0.999, "discrete: nucleus, smallest set of tokens whose probability reaches top_p", above=0.0, high=1.0
    )
    top_k: int = _doc(0, "discrete: of the so many likeliest tokens (0: of all)", low=0)
    guidance: float = _doc(
        1.0,
        "discrete: classifier-free guidance, u + guidance (c - u); 1 is none, all that ShapeWorld's LMM can",
        low=1.0,
    )
    rate: float = _doc(0.4, "continuous: DivDrop's dropout rate, below 1 (paper: 0.3, inferred)", low=0.0, high=0.999)
    layers: int = _doc(4, "continuous: DivDrop in the MLPs of so many last layers", low=0)
    site: str = _doc("hidden", "continuous: before or after the down projection", choices=("hidden", "output"))
    positions: str = _doc(
        "queries", "continuous: drop at the dream queries alone, or at the prompt too", choices=("queries", "all")
    )
    noise: str = _doc(
        "constant",
        "continuous: decoder noise, one for all prompts, one a prompt, or one a sample",
        choices=("constant", "prompt", "free"),
    )
    noises: int = _doc(
        1, "continuous: pictures of each sample, with different decoder noise; their scores are averaged", low=1
    )


@dataclass(frozen=True)
class Questions:
    """Step 3: the policy splits each prompt into yes/no questions (greedy decoding)."""

    strategy: str = _doc(
        "self",
        "the policy writes questions, or the prompt, or each of its phrases, is one (paper, Table 2)",
        choices=("self", "prompt", "phrase"),
    )
    max_tokens: int = _doc(80, "longest answer in tokens", low=1)
    fallback: str = _doc(
        "none",
        "a prompt for which the policy wrote no well-formed question has none, or is one itself",
        choices=("none", "prompt"),
    )


@dataclass(frozen=True)
class Score:
    """Step 4a: the policy answers its own questions on its own images."""

    block: int = _doc(128, "images per forward pass; fixed, so that results do not depend on the batch", low=1)


@dataclass(frozen=True)
class Pairs:
    """Step 4b: best and worst images make preference pairs."""

    scorer: str = _doc(
        "self",
        "what ranks the images: mean p(yes) - p(no); ratio of yes; the mean where a question counts as no if its parent"
        " does not hold; chance; the oracle",
        choices=("self", "ratio", "dependent", "random", "oracle"),
    )
    top_n: int = _doc(4, "the top_n best images meet the top_n worst", low=1)
    product: bool = _doc(False, "all top_n x top_n combinations, instead of best/worst, second best/second worst, ...")
    min_gap: float = _doc(0.1, "smallest score difference between chosen and rejected", low=0.0)
    winner: str = _doc(
        "any", "which images may be chosen: any, or those with every question answered yes", choices=("any", "all_yes")
    )
    prompts: int = _doc(0, "pairs of the first so many prompts alone (0: of all)", low=0)
    keep: int = _doc(0, "at most so many pairs a prompt, drawn at random from those there are (0: all)", low=0)
    spoiled: float = _doc(0.0, "share of answers that are swapped: a worse judge, on purpose", low=0.0, high=1.0)


@dataclass(frozen=True)
class Align:
    """Step 5: DPO on visual tokens, or KC-DPO on features; the result is the next policy and the next reference."""

    loss: str = _doc("sigmoid", "preference loss (TRL's names)", choices=("sigmoid", "sft"))
    beta: float = _doc(0.2, "discrete: DPO temperature (paper: 0.2)", above=0.0)
    gamma: float = _doc(0.0, "continuous: KC-DPO's gamma (paper: 6); 0 is spreads / mean k(chosen, rejected)", low=0.0)
    spreads: float = _doc(3.0, "continuous: see gamma", low=1e-3)
    pooling: str = _doc("avg", "continuous: over the queries", choices=("avg", "max", "none", "query"))
    distance: str = _doc(
        "cosine", "continuous: k", choices=("cosine", "euclidean", "squared_euclidean", "rbf", "laplace")
    )
    sigma: float = _doc(1.0, "continuous: width of rbf and laplace", low=1e-6)
    sft_weight: float = _doc(
        20.0, "weight of the winner anchor: mean NLL of the chosen tokens (RPO's alpha), or k(H, chosen)", low=0.0
    )
    text_weight: float = _doc(
        0.1, "weight of the language-model loss on the policy's own prompts and questions", low=0.0
    )
    lr: float = _doc(5e-4, "peak learning rate", above=0.0)
    batch: int = _doc(64, "pairs per optimiser step", low=1)
    rows: int = _doc(
        0, "pairs per forward pass: gradients of a batch are summed up from so many at a time (0: all at once)", low=0
    )
    epochs: int = _doc(1, "passes over the pairs", low=1)
    parallel: str = _doc(
        "ddp",
        "on several GPUs: each has all weights, or a part of each (results: the same to rounding)",
        choices=("ddp", "fsdp"),
    )
    timeout: int = _doc(
        600,
        "on several GPUs: seconds until a process that gives no sign, or for which the others wait, ends them all",
        low=1,
        result=False,
    )


@dataclass(frozen=True)
class Evaluate:
    """Judge a policy by the exact oracle on held-out compositions."""

    prompts: int = _doc(384, "evaluation prompts, spread evenly over the eight sub-categories", low=8)
    n: int = _doc(2, "images per prompt and sampler", low=1)
    samplers: tuple[str, ...] = _doc(("t1.0", "top_p0.9"), "how images are drawn; the first is the default sampler")
    best_of: int = _doc(1, "draw best_of images for each one kept, by self-score (1 = off)", low=1)


FOLDERS = ("weights", "chat", "visual", "diffusion")  # settings of Adopt that name one

STAGES: dict[str, type] = {
    "pretrain": Pretrain,
    "adopt": Adopt,
    "prompts": Prompts,
    "images": Images,
    "questions": Questions,
    "score": Score,
    "pairs": Pairs,
    "align": Align,
    "evaluate": Evaluate,
}


def require_all(stage: str, name: str, implemented: Iterable[str]) -> None:
    """Raise RuntimeError where the names that are implemented are not the choices of a field: whoever adds one adds
    both, and no name falls through to what another one does."""
    choices = next(f for f in dataclasses.fields(STAGES[stage]) if f.name == name).metadata["choices"]
    if differ := set(choices).symmetric_difference(implemented):
        raise RuntimeError(
            f"{stage}.{name}: {', '.join(sorted(differ))}: must be both among the choices in {__name__} and among what"
            " is implemented"
        )


def shaping(settings: Any) -> dict[str, Any]:
    """The fields that results depend on, with their values."""
    fields = (f.name for f in dataclasses.fields(settings) if f.metadata.get("result", True))
    return {name: getattr(settings, name) for name in fields}


def check(settings: Any) -> None:
    """Raise ValueError naming the stage, the field, the value, and the limit that it breaks or the field that it cannot
    go with."""
    stage = type(settings).__name__.lower()
    for f in dataclasses.fields(settings):
        value = getattr(settings, f.name)
        low, above, high, choices = (f.metadata.get(k) for k in ("low", "above", "high", "choices"))
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{stage}.{f.name} is {value}: must be a finite number")
        if choices and value not in choices:
            raise ValueError(f"{stage}.{f.name} is {value!r}: choose one of {', '.join(choices)}")
        if high is None and type(value) is int:
            high = MOST
        if low is not None and value < low:
            raise ValueError(f"{stage}.{f.name} is {value}: must be at least {low}")
        if above is not None and value <= above:
            raise ValueError(f"{stage}.{f.name} is {value}: must be above {above:g}")
        if high is not None and value > high:
            raise ValueError(f"{stage}.{f.name} is {value}: must be at most {high}")
    if isinstance(settings, Align) and settings.loss == "sft" and not settings.sft_weight > 0:
        raise ValueError("align.sft_weight is 0.0: must be above 0 with align.loss sft, which learns nothing else")
    if isinstance(settings, Pretrain) and settings.width % (2 * settings.heads):
        raise ValueError(f"pretrain.width is {settings.width}: must be a multiple of 2 x pretrain.heads")
