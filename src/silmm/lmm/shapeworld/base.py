"""What the discrete and the continuous ShapeWorld LMM share: writing, asking and looking, with the same weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from silmm import rng as keyed
from silmm.errors import TokensError
from silmm.kernels.nucleus import nucleus
from silmm.lmm.shapeworld import layout
from silmm.lmm.shapeworld.decode import decode
from silmm.lmm.shapeworld.model import L_IMAGE, ShapeWorldLlama
from silmm.lmm.shapeworld.vocab import Vocab
from silmm.lmm.shapeworld.vq import VQTokenizer
from silmm.shapeworld.language import lexicon
from silmm.shapeworld.scene import SIDE

BLOCK_IMAGES = 128  # pictures per answering block: fixed, so that results do not depend on the number of pictures
BLOCK_TEXTS = 64
PROMPT_TOKENS = layout.PROMPT_WORDS  # a longer prompt could not be drawn


def uniforms(keys: Sequence[tuple], length: int) -> Tensor:
    """Uniform numbers float64 `[rows, length]`, one keyed stream a row."""
    return torch.from_numpy(np.stack([keyed.generator(*key).random(length) for key in keys]))


class ShapeWorldLMM:
    """Everything but drawing; pictures are looked at as codes `[n, 36]` of the visual tokenizer."""

    world = "shapeworld"
    length = L_IMAGE

    def __init__(self, model: ShapeWorldLlama, tokenizer: VQTokenizer, vocab: Vocab) -> None:
        self.model, self.tokenizer, self.vocab = model, tokenizer, vocab

    # ---- writing -------------------------------------------------------------------------------------------------

    def write(self, subcategories: Sequence[str], keys: Sequence[tuple], *, temperature: float) -> list[str]:
        """One prompt of each sub-category, sampled; words that are no words are forbidden."""
        out: list[str] = []
        for i in range(0, len(subcategories), BLOCK_TEXTS):
            names, block_keys = list(subcategories[i : i + BLOCK_TEXTS]), list(keys[i : i + BLOCK_TEXTS])
            spare = BLOCK_TEXTS - len(names)
            prefix = torch.from_numpy(layout.write_prefix(self.vocab, names + names[:1] * spare))
            numbers = uniforms(block_keys + block_keys[:1] * spare, PROMPT_TOKENS)
            ids = self._decode_text(prefix, PROMPT_TOKENS, numbers, temperature)
            out += [self.vocab.decode(row) for row in ids[: len(names)]]
        return out

    def ask(self, prompts: Sequence[str], *, max_tokens: int) -> list[str]:
        """The questions that each prompt splits into, greedily."""
        out: list[str] = []
        for i in range(0, len(prompts), BLOCK_TEXTS):
            block = list(prompts[i : i + BLOCK_TEXTS])
            padded = block + block[:1] * (BLOCK_TEXTS - len(block))
            ids = self._decode_text(torch.from_numpy(layout.ask_prefix(self.vocab, padded)), max_tokens, None, 1.0)
            out += [self.vocab.decode(row) for row in ids[: len(block)]]
        return out

    def _decode_text(self, prefix: Tensor, length: int, numbers: Tensor | None, temperature: float) -> list[list[int]]:
        forbidden = torch.ones(len(self.vocab), dtype=torch.bool)
        forbidden[[self.vocab.eos, *(self.vocab.ids[word] for word in lexicon())]] = False

        def choose(step: int, logits: Tensor) -> Tensor:
            logits = logits.masked_fill(forbidden, float("-inf"))
            if numbers is None:
                return logits.argmax(-1)
            return nucleus(logits, numbers[:, step], temperature=temperature, top_p=1.0)

        ids = decode(
            self.model, prefix, samples=1, length=length, choose=choose, pad=self.vocab.pad, stop=self.vocab.eos
        )
        return ids[:, 0].tolist()

    # ---- pictures as codes -----------------------------------------------------------------------------------------

    def render(self, tokens_NL: np.ndarray) -> np.ndarray:
        """Pictures uint8 `[n, 30, 30, 3]` of codes."""
        return self.tokenizer.decode(torch.from_numpy(self._codes(tokens_NL))).numpy()

    def _codes(self, tokens_NL: np.ndarray) -> np.ndarray:
        """Visual tokens from anywhere as int64 `[n, 36]`. Raises TokensError for those that are none of this LMM's."""
        codes = np.asarray(tokens_NL, np.int64)
        if not codes.size:
            return codes
        if codes.shape[1:] != (self.length,) or codes.min() < 0 or codes.max() >= self.vocab.n_visual:
            raise TokensError(
                f"visual tokens {list(codes.shape)} from {codes.min()} to {codes.max()}: expected {self.length} of a"
                f" picture, from 0 to {self.vocab.n_visual - 1}"
            )
        return codes

    def tokenize(self, images_NHWC: np.ndarray) -> np.ndarray:
        """Codes `[n, 36]`."""
        return self.tokenizer.encode(torch.from_numpy(np.array(images_NHWC, np.uint8))).numpy()

    # ---- looking -------------------------------------------------------------------------------------------------

    def look(self, images: Sequence[np.ndarray], questions: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """`answer` for pictures uint8 `[H, W, 3]` of any size."""
        side = (SIDE, SIDE)
        own = [np.asarray(Image.fromarray(image).resize(side, Image.Resampling.BOX)) for image in images]
        return self.answer(self.tokenize(np.stack(own)), questions)

    @torch.no_grad()
    def answer(self, tokens_NL: np.ndarray, questions: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """(p_yes, p_no) `[Q_i, 2]` for each picture, next-token probabilities over the whole vocabulary.

        All questions of a picture share one pass: the picture's tokens are read once, and a block mask keeps the
        questions from seeing each other.
        """
        tokens_NL = self._codes(tokens_NL)
        order = np.argsort([len(" ".join(q)) for q in questions], kind="stable")  # like lengths share a block
        results: dict[int, np.ndarray] = {}
        for i in range(0, len(order), BLOCK_IMAGES):
            chosen = order[i : i + BLOCK_IMAGES]
            block = self._answer_block(tokens_NL[chosen], [questions[k] for k in chosen])
            results.update(zip((int(k) for k in chosen), block, strict=True))
        return [results[k] for k in range(len(questions))]

    def _answer_block(self, codes: np.ndarray, questions: list[Sequence[str]]) -> list[np.ndarray]:
        packed = layout.pack(self.vocab, [[layout.question_branch(self.vocab, q) for q in row] for row in questions])
        if packed.ids.shape[1] == 0:
            return [np.zeros((0, 2), np.float32) for _ in questions]
        ids = np.concatenate([layout.look_prefix(self.vocab, codes), packed.ids], 1)
        mask, positions = (torch.from_numpy(a) for a in layout.look_mask(packed))
        hidden = self.model.hidden(torch.from_numpy(ids), mask, positions, layout.LOOK_IMAGE_AT)
        rows = np.repeat(np.arange(len(codes)), [len(e) for e in packed.ends])
        picked = hidden[torch.from_numpy(rows), torch.from_numpy(np.concatenate(packed.ends) + layout.LOOK_PREFIX)]
        probs = self.model.lm_head(picked).softmax(-1)[:, [self.vocab.yes, self.vocab.no]].numpy()
        return np.split(probs, np.cumsum([len(e) for e in packed.ends])[:-1])

    # ---- learning ------------------------------------------------------------------------------------------------

    def text_nll(self, pairs: Sequence[tuple[str, str, str]]) -> Tensor:
        """Mean negative log-likelihood over the output tokens of all texts."""
        vocab = self.vocab
        rows = []
        for task, given, output in pairs:
            prefix = layout.write_prefix(vocab, [given])[0] if task == "write" else layout.ask_prefix(vocab, [given])[0]
            rows.append((list(prefix), [*vocab.encode(output), vocab.eos]))
        width = max(len(p) + len(o) for p, o in rows) - 1
        ids = np.full((len(rows), width), vocab.pad, np.int64)
        target = np.full_like(ids, -100)
        for i, (start, answer) in enumerate(rows):
            ids[i, : len(start) + len(answer) - 1] = [*start, *answer[:-1]]
            target[i, len(start) - 1 : len(start) + len(answer) - 1] = answer
        mask = torch.from_numpy(layout.causal_mask(ids, vocab.pad))
        hidden = self.model.hidden(torch.from_numpy(ids), mask, torch.arange(width)[None])
        learned = torch.from_numpy(target) != -100
        return F.cross_entropy(self.model.lm_head(hidden[learned]), torch.from_numpy(target)[learned])

    def parameters(self) -> list[torch.nn.Parameter]:
        """The weights that training changes."""
        return list(self.model.parameters())

    def learners(self) -> list[torch.nn.Module]:
        """The transformer."""
        return [self.model]
