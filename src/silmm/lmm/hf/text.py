"""Text by a transformers decoder: sampling, likelihood, and which tokens say yes and no."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from silmm import rng as keyed
from silmm.errors import InputError
from silmm.kernels.nucleus import nucleus
from silmm.kernels.selective_logps import selective_logps
from silmm.lmm.hf.decoder import checkpointed, forward, left_pad, new_cache

YES, NO = ("yes", "Yes", "YES"), ("no", "No", "NO")


class TextModel(NamedTuple):
    """What speaks: a decoder, and its head over the vocabulary."""

    decoder: Any
    head: nn.Linear  # without bias
    pad: int
    stops: frozenset[int]  # ids that end a text
    rows: int  # sequences a forward pass

    def embed(self, ids: Tensor) -> Tensor:
        """Embeddings `[..., D]` of ids."""
        return self.decoder.get_input_embeddings()(ids)


def uniforms(keys: Sequence[tuple], length: int) -> Tensor:
    """Uniform numbers float64 `[rows, length]`, one keyed stream a row."""
    return torch.from_numpy(np.stack([keyed.generator(*key).random(length) for key in keys]))


@torch.no_grad()
def sample(
    model: TextModel,
    prompts: Sequence[Sequence[int]],
    *,
    length: int,
    keys: Sequence[tuple] | None = None,
    temperature: float = 1.0,
) -> list[list[int]]:
    """Continue each prompt, ids, by at most `length` ids, without the one that stops it.

    Each row is sampled by its own key; without keys, the likeliest id is taken.
    """
    out: list[list[int]] = []
    for i in range(0, len(prompts), model.rows):
        numbers = None if keys is None else uniforms(keys[i : i + model.rows], length)
        out += _sample_block(model, prompts[i : i + model.rows], length, numbers, temperature)
    return out


def _sample_block(
    model: TextModel, prompts: Sequence[Sequence[int]], length: int, numbers: Tensor | None, temperature: float
) -> list[list[int]]:
    device = model.head.weight.device
    ids, mask = left_pad(prompts, model.pad, device)
    cache = new_cache(model.decoder, ids.shape[1] + length)
    texts: list[list[int]] = [[] for _ in prompts]
    running = list(range(len(prompts)))
    for step in range(length):
        hidden_BTD = forward(model.decoder, model.embed(ids), mask, cache)
        logits_BV = model.head(hidden_BTD[:, -1]).float()
        if numbers is None:
            ids = logits_BV.argmax(-1, keepdim=True)
        else:
            ids = nucleus(logits_BV, numbers[:, step].to(device), temperature=temperature)[:, None]
        chosen = ids[:, 0].tolist()
        running = [row for row in running if chosen[row] not in model.stops]
        for row in running:
            texts[row].append(chosen[row])
        if not running:
            break
        mask = torch.cat([mask, mask.new_ones(len(prompts), 1)], 1)
    return texts


def nll(model: TextModel, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Tensor:
    """Mean negative log-likelihood, float32 on the CPU, over all output ids of (prompt ids, output ids); with
    gradients."""
    device = model.head.weight.device
    logps = []
    for i in range(0, len(pairs), model.rows):
        block = pairs[i : i + model.rows]
        ids, mask = left_pad([[*prompt, *output] for prompt, output in block], model.pad, device)
        width = ids.shape[1] - 1
        starts = torch.tensor([width - len(output) for _, output in block], device=device)
        learned = torch.arange(width, device=device) >= starts[:, None]
        with checkpointed(model.decoder):
            hidden_BTD = forward(model.decoder, model.embed(ids[:, :-1]), mask[:, :-1])
        logps.append(selective_logps(hidden_BTD[learned], model.head.weight, ids[:, 1:][learned]))
    return -torch.cat(logps).mean().cpu()


def yes_no_ids(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Ids of the single tokens that say yes, and of those that say no: in lower and upper case and capitalised, with
    and without a space before. Raises InputError where the tokenizer has none."""
    found, vocabulary = [], tokenizer.get_vocab()
    for words in (YES, NO):
        ids = [tokenizer.encode(space + word, add_special_tokens=False) for word in words for space in ("", " ")]
        single = {row[0] for row in ids if len(row) == 1} - {tokenizer.unk_token_id}
        # LLaMA's tokenizer puts a space before every text, so that encoding never shows the word without one.
        single |= {vocabulary[word] for word in words if word in vocabulary}
        if not single:
            raise InputError(
                f"{tokenizer.name_or_path}: the tokenizer has no single token for any of {', '.join(words)}: silmm"
                " reads answers from the next token's probabilities; take a tokenizer that has"
            )
        found.append(sorted(single))
    return found[0], found[1]


class Markers(NamedTuple):
    """Names of a tokenizer's added tokens that open pictures, turns and texts."""

    names: frozenset[str]
    lengths: tuple[int, ...]  # of the names, longest first
    starts: re.Pattern[str]  # any of their first characters

    def without(self, text: str) -> str:
        """A text with a space in the place of each name, of those that start at one place the longest."""
        out, done = [], 0
        for found in self.starts.finditer(text):
            start = found.start()
            length = next((n for n in self.lengths if text[start : start + n] in self.names), 0)
            if length and start >= done:
                out += [text[done:start], " "]
                done = start + length
        return "".join([*out, text[done:]])


_MARKERS: WeakKeyDictionary[Any, Markers] = (
    WeakKeyDictionary()
)  # names are read once per tokenizer: there are thousands


def markers(tokenizer: Any) -> Markers:
    """The names that no text may hold: of special tokens, and of other added ones unless they are a single letter
    (DeepSeek's tokenizers add some). A tokenizer is asked once; what is added to it later is not seen."""
    if tokenizer not in _MARKERS:
        added = tokenizer.added_tokens_decoder.values()
        names = frozenset(t.content for t in added if (t.special or len(t.content) > 1) and t.content.strip())
        firsts = "".join(sorted({re.escape(name[0]) for name in names}))
        starts = re.compile(f"[{firsts}]" if firsts else "(?!)")
        _MARKERS[tokenizer] = Markers(names, tuple(sorted({*map(len, names)}, reverse=True)), starts)
    return _MARKERS[tokenizer]


def plain(tokenizer: Any, text: str) -> str:
    """A text without the names of added tokens: what a user or an LMM wrote must not open a picture. What is left when
    a name is taken out may be another's (`<|image<image>start|>`): that goes, too."""
    known = markers(tokenizer)
    while known.starts.search(text) and (rest := known.without(text)) != text:
        text = rest
    return text
