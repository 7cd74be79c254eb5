"""A continuous LMM whose every picture and answer a test decides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from silmm.lmm.interface import ContinuousImages, Drawn, Sampling
from silmm.shapeworld import exam
from silmm.shapeworld.language import units, write_question
from silmm.shapeworld.render import render
from silmm.shapeworld.sample import sample_scene
from silmm.shapeworld.scene import Scene

WRONG, NOISE = -1, -2  # tokens of an empty picture and of a malformed one; the number of a prompt is its right picture


class Puppet(ContinuousImages):
    """Without dropout it draws the right picture of every other prompt. With dropout, sample k of a prompt is right
    where k < 2 `layers`, and the last sample is malformed; samples are further apart the higher the rate.

    Its own score tells right from wrong, but for prompts of `blind` sub-categories, where it likes the wrong ones.
    """

    world, images, length = "shapeworld", "continuous", 1

    def __init__(self, tests: Sequence[exam.EvalPrompt], layers: int = 2, blind: Sequence[str] = ()) -> None:
        self.tests, self.layers, self.blind = list(tests), layers, blind
        self.numbers = {t.prompt: i for i, t in enumerate(tests)}
        self.category = {tuple(write_question(u) for u in units(t.spec)): t.subcategory for t in tests}
        self.drawn: list[tuple[Sequence[Sequence[tuple]], Sampling]] = []
        self.answered = 0

    def ask(self, prompts: Sequence[str], *, max_tokens: int) -> list[str]:
        return [" ".join(write_question(u) for u in units(self.tests[self.numbers[p]].spec)) for p in prompts]

    def draw(self, prompts: Sequence[str], keys: Sequence[Sequence[tuple]], sampling: Sampling) -> Drawn:
        if sampling.layers > self.layers:
            raise ValueError(f"DivDrop's layers is {sampling.layers}: must be 0 to {self.layers}")
        self.drawn.append((keys, sampling))
        tokens = np.full((len(prompts), len(keys[0]), 1), WRONG)
        for i, prompt in enumerate(prompts):
            right = 2 * sampling.layers if sampling.rate else len(keys[0]) * (1 - self.numbers[prompt] % 2)
            tokens[i, :right] = self.numbers[prompt]
        if sampling.rate:
            tokens[:, -1] = NOISE
        angle = sampling.rate * torch.arange(tokens.shape[1]).expand(tokens.shape[:2])
        feats = torch.stack([angle.cos(), angle.sin()], -1)[:, :, None].expand(-1, -1, 3, -1)
        return Drawn(tokens, feats.numpy().astype(np.float32))

    def render(self, tokens_NL: np.ndarray) -> np.ndarray:
        scenes = [self._scene(int(t)) for t in tokens_NL[:, 0]]
        pictures = render(scenes)
        pictures[tokens_NL[:, 0] == NOISE] = np.random.default_rng(0).integers(0, 256, pictures.shape[1:])
        return pictures

    def _scene(self, token: int) -> Scene:
        if token < 0:
            return Scene((), ())
        return sample_scene(np.random.default_rng(token), self.tests[token].spec)

    def answer(self, tokens_NL: np.ndarray, questions: Sequence[Sequence[str]]) -> list[np.ndarray]:
        self.answered += len(questions)
        return [self._believed(int(t), texts) for t, texts in zip(tokens_NL[:, 0], questions, strict=True)]

    def _believed(self, token: int, texts: Sequence[str]) -> np.ndarray:
        p_yes = 0.9 if (token >= 0) != (self.category[tuple(texts)] in self.blind) else 0.1
        return np.full((len(texts), 2), [p_yes, 1 - p_yes])
