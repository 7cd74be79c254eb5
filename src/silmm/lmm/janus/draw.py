"""Drawing visual tokens, and their log-probs: the same distribution by a cached loop and by one pass.

Visual tokens are codes of the visual tokenizer: the language model reads them through an embedding of their own and
names them through a head of their own, which the words' head has no part in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from silmm.lmm.hf.choice import choose, guide
from silmm.lmm.hf.decoder import checkpointed, fan_out, forward, left_pad, new_cache
from silmm.lmm.hf.text import uniforms
from silmm.lmm.interface import Sampling
from silmm.lmm.janus import layout
from silmm.lmm.janus.weights import JanusWeights

Choose = Callable[[int, Tensor], Tensor]  # a code of each sample, of the step's number and logits [S, codes]


def draw(
    weights: JanusWeights, prompts: Sequence[str], keys: Sequence[Sequence[tuple]], sampling: Sampling
) -> np.ndarray:
    """Codes int64 `[P, N, L]`, a key each; a prompt's prefix runs once for the samples of a pass.

    With guidance each sample takes two rows of a pass.
    """
    prefixes = [layout.draw_ids(weights.processor, prompt) for prompt in prompts]
    owners = [number for number, row in enumerate(keys) for _ in row]
    flat = [key for row in keys for key in row]
    size = max(1, weights.text.rows // (1 + (sampling.guidance != 1.0)))
    out = []
    for i in range(0, len(flat), size):
        numbers_SL = uniforms(flat[i : i + size], weights.length).to(weights.text.head.weight.device)
        needed = sorted(set(owners[i : i + size]))
        rows = [needed.index(owner) for owner in owners[i : i + size]]
        out.append(
            draw_pass(
                weights, [prefixes[number] for number in needed], rows, sampling.guidance, sampler(numbers_SL, sampling)
            )
        )
    return torch.cat(out).reshape(len(prompts), -1, weights.length).cpu().numpy()


def sampler(numbers_SL: Tensor, sampling: Sampling) -> Choose:
    """Choose with these uniform numbers."""
    return lambda step, logits_SC: choose(logits_SC, numbers_SL[:, step], sampling)


@torch.no_grad()
def draw_pass(
    weights: JanusWeights, prefixes: Sequence[list[int]], rows: Sequence[int], guidance: float, chooser: Choose
) -> Tensor:
    """Codes `[S, L]` of samples, `rows` saying which prefix each continues.

    With guidance a sample has a second row, which continues its prefix's places without a prompt.
    """
    decoder, head, guided = weights.text.decoder, weights.model.model.generation_head, guidance != 1.0
    free_of = [layout.unconditional(weights.processor, ids, weights.blank) for ids in prefixes if guided]
    every = [*prefixes, *free_of]
    every_row = [*rows, *(len(prefixes) + row for row in rows if guided)]
    ids, mask = left_pad(every, weights.text.pad, weights.text.head.weight.device)
    start, end = ids.shape[1], ids.shape[1] + weights.length - 1  # the last code is never read
    cache = new_cache(decoder, start)
    hidden_BD = forward(decoder, weights.text.embed(ids), mask, cache)[every_row, -1]
    cache = fan_out(cache, every_row, end)
    mask_BS = torch.cat([mask[every_row], mask.new_ones(len(every_row), end - start)], 1)
    codes: list[Tensor] = []
    for step in range(weights.length):
        states_SD = guide(head.activation_fn(head.proj_out(hidden_BD)), guidance)
        codes.append(chooser(step, head.vision_head(states_SD).float()))
        if step + 1 < weights.length:
            embeds_BTD = _embed(weights, codes[-1].repeat(1 + guided)[:, None])
            hidden_BD = forward(decoder, embeds_BTD, mask_BS[:, : start + step + 1], cache)[:, -1]
    return torch.stack(codes, 1)


def token_logps(weights: JanusWeights, prompts: Sequence[str], tokens_BL: np.ndarray) -> Tensor:
    """Log-probs float32 `[B, L]` of codes given prompts, on the CPU, with gradients; without guidance, which is a way
    to sample and no part of the policy."""
    decoder, device = weights.text.decoder, weights.text.head.weight.device
    codes = torch.from_numpy(np.ascontiguousarray(tokens_BL, np.int64)).to(device)
    prefixes = [layout.draw_ids(weights.processor, prompt) for prompt in prompts]
    out = []
    for i in range(0, len(prefixes), weights.text.rows):
        block_BL = codes[i : i + weights.text.rows]
        ids, mask = left_pad(prefixes[i : i + weights.text.rows], weights.text.pad, device)
        read = _embed(weights, block_BL[:, :-1])
        mask = torch.cat([mask, mask.new_ones(read.shape[:2])], 1)
        with checkpointed(decoder):
            hidden_BTD = forward(decoder, torch.cat([weights.text.embed(ids), read], 1), mask)
        # The logits of all codes are made again for the backward pass, not kept.
        head = weights.model.model.generation_head
        out.append(checkpoint(_logps, head, hidden_BTD[:, ids.shape[1] - 1 :], block_BL, use_reentrant=False))
    return torch.cat(out).cpu()


def _logps(head: Any, hidden_BLD: Tensor, codes_BL: Tensor) -> Tensor:
    logits_BLC = head(hidden_BLD).float()
    return logits_BLC.gather(2, codes_BL[:, :, None]).squeeze(2) - logits_BLC.logsumexp(2)


def _embed(weights: JanusWeights, codes_BT: Tensor) -> Tensor:
    return weights.model.prepare_embeddings_for_image_generation(codes_BT)
