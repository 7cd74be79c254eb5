"""What a large multimodal model must be able to do; everything above this line is model-agnostic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:  # so that the names of samplers can be checked without torch
    import numpy as np
    from torch import Tensor
    from torch.nn import Module, Parameter


class Sampling(NamedTuple):
    """How the pictures of a prompt are drawn. An LMM reads the fields of its kind."""

    # discrete
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0  # of the likeliest tokens; 0 is all
    guidance: float = 1.0  # classifier-free: logits are u + guidance (c - u); 1 is none
    # continuous
    rate: float = 0.0  # DivDrop: share of dropped elements; 0 is no dropout
    layers: int = 0  # DivDrop: in how many of the last layers
    site: str = "hidden"  # DivDrop: before the MLP's down projection, or after it (`output`)
    positions: str = "queries"  # DivDrop: at the dream queries, or at the prompt too (`all`)
    noise: str = "free"  # decoder noise: one for all pictures (`constant`), one a prompt (`prompt`), one a picture
    noises: int = 1  # pictures of each sample, with different decoder noise


class Drawn(NamedTuple):
    """N samples of each prompt; a continuous LMM may draw M pictures of each (`Sampling.noises`): picture m of sample
    n is then row n * M + m of the tokens, or of the pictures. One of these two is there."""

    tokens_PNL: np.ndarray | None = None  # int64 visual tokens: what is rendered and looked at
    feats_PNQD: np.ndarray | None = None  # continuous: features, float32 or float16, what step 5 learns from
    pictures_PNHWC: np.ndarray | None = None  # uint8 RGB, of an LMM that draws no visual tokens


@runtime_checkable
class LMM(Protocol):
    """A unified model: one set of weights writes, draws and looks.

    Random draws are keyed: every method that samples takes one key a row (see `silmm.rng`), so that results do not
    depend on batch, shard or job order.
    """

    world: str  # what it speaks and draws: "shapeworld", or "open": plain English and any picture
    images: str  # "discrete": it draws visual tokens; "continuous": features, which a decoder turns into pictures

    def write(self, subcategories: Sequence[str], keys: Sequence[tuple], *, temperature: float) -> list[str]:
        """One prompt of each sub-category."""
        ...

    def ask(self, prompts: Sequence[str], *, max_tokens: int) -> list[str]:
        """The questions, as one text, that each prompt splits into (greedy)."""
        ...

    def draw(self, prompts: Sequence[str], keys: Sequence[Sequence[tuple]], sampling: Sampling) -> Drawn:
        """N samples of each prompt, one key for each; keys of one prompt differ in their last part, a number."""
        ...

    def look(self, images: Sequence[np.ndarray], questions: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """(p_yes, p_no) `[Q_i, 2]` of each picture's questions, the picture encoded once for all of them: pictures
        uint8 `[H, W, 3]` from anywhere, of any size; each is brought to the LMM's own."""
        ...

    def text_nll(self, pairs: Sequence[tuple[str, str, str]]) -> Tensor:
        """Mean negative log-likelihood of (task, input, output) texts; task is `write` or `ask`; with gradients."""
        ...

    def save(self, folder: Path) -> None:
        """Write a Hugging Face folder."""
        ...

    def parameters(self) -> list[Parameter]:
        """The weights that training changes."""
        ...

    def learners(self) -> list[Module]:
        """The torch modules that hold them, and what stands around them on the way of a gradient."""
        ...


@runtime_checkable
class VisualTokens(LMM, Protocol):
    """An LMM whose pictures are made of visual tokens: all but the one whose features a decoder paints as it likes."""

    length: int  # visual tokens of a picture

    def render(self, tokens_NL: np.ndarray) -> np.ndarray:
        """Pictures uint8 `[n, H, W, 3]` of visual tokens `[n, L]`."""
        ...

    def answer(self, tokens_NL: np.ndarray, questions: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """`look` for pictures that are given as their visual tokens."""
        ...


@runtime_checkable
class DiscreteImages(VisualTokens, Protocol):
    """An LMM that draws visual tokens."""

    def token_logps(self, prompts: Sequence[str], tokens_BL: np.ndarray) -> Tensor:
        """Log-probs `[B, L]` of visual tokens given prompts, with gradients."""
        ...


@runtime_checkable
class ContinuousImages(LMM, Protocol):
    """An LMM that draws features."""

    layers: int  # decoder layers: DivDrop may drop in so many of the last

    def features(self, prompts: Sequence[str]) -> Tensor:
        """Features `[B, Q, D]` of prompts, without dropout, with gradients."""
        ...


@runtime_checkable
class RangedFeatures(ContinuousImages, Protocol):
    """A continuous LMM that remembers which features its decoder was trained on; not every one does."""

    def feature_range(self, feats_NQD: np.ndarray) -> np.ndarray:
        """How far features are from those, float64 `[n]`: squared, per dimension, 1.0 on average in training."""
        ...


@runtime_checkable
class NoisyQueries(ContinuousImages, VisualTokens, Protocol):
    """A continuous LMM whose features start from learned queries; not every one's do."""

    def draw_noisy(self, prompts: Sequence[str], keys: Sequence[Sequence[tuple]], strength: float) -> Drawn:
        """N samples of each prompt that differ by Gaussian noise on the queries' input embeddings alone, of `strength`
        times their root mean square; no dropout, one decoder noise a prompt, one picture a sample."""
        ...
