"""What a large multimodal model must be able to do; everything above this line is model-agnostic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from torch import Tensor
from torch.nn import Parameter


@runtime_checkable
class LMM(Protocol):
    """A unified model whose images are discrete visual tokens.

    Random draws are keyed: every method that samples takes one key a row (see `silmm.rng`), so that results do not
    depend on batch, shard or job order.
    """

    images: str  # "discrete"
    length: int  # visual tokens of a picture

    def write(self, subcategories: Sequence[str], keys: Sequence[tuple], *, temperature: float) -> list[str]:
        """One prompt of each sub-category."""
        ...

    def ask(self, prompts: Sequence[str], *, max_tokens: int) -> list[str]:
        """The questions, as one text, that each prompt splits into (greedy)."""
        ...

    def draw(
        self, prompts: Sequence[str], keys: Sequence[Sequence[tuple]], *, temperature: float, top_p: float
    ) -> np.ndarray:
        """Visual tokens int `[P, N, L]`: N pictures of each prompt, one key for each."""
        ...

    def render(self, tokens_NL: np.ndarray) -> np.ndarray:
        """Pictures uint8 `[n, H, W, 3]` of visual tokens `[n, L]`."""
        ...

    def tokenize(self, images_NHWC: np.ndarray) -> np.ndarray:
        """Visual tokens `[n, L]` of pictures uint8 `[n, H, W, 3]`."""
        ...

    def answer(self, tokens_NL: np.ndarray, questions: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """(p_yes, p_no) `[Q_i, 2]` of each picture's questions, the picture encoded once for all of them."""
        ...

    def token_logps(self, prompts: Sequence[str], tokens_BL: np.ndarray) -> Tensor:
        """Log-probs `[B, L]` of visual tokens given prompts, with gradients."""
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
