"""Drawing visual tokens, and their log-probs: the same distribution by a cached loop and by one pass.

Only visual tokens are chosen, from a softmax over them alone. The reference reaches the same by forbidding all others
(`prefix_allowed_tokens_fn`); the ends of the lines are part of the layout, not of the policy. Only the visual tokens'
rows of the head are ever multiplied: whole logits of one picture of 8193 positions would be 6 GB.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from silmm.kernels.selective_logps import selective_logps
from silmm.lmm.emu3 import layout
from silmm.lmm.emu3.weights import Emu3Weights
from silmm.lmm.hf.choice import choose, guide
from silmm.lmm.hf.decoder import checkpointed, fan_out, forward, left_pad, new_cache
from silmm.lmm.hf.text import uniforms
from silmm.lmm.interface import Sampling


@torch.no_grad()
def draw(
    weights: Emu3Weights, prompts: Sequence[str], keys: Sequence[Sequence[tuple]], sampling: Sampling, side: int
) -> np.ndarray:
    """Codes int64 `[P, N, (side / 8)^2]`, a key each; a prompt's prefix runs once for the samples of a pass.

    With guidance each sample takes two rows of a pass, one of which is given the negative prompt.
    """
    samples, guided = len(keys[0]), sampling.guidance != 1.0
    width = side // weights.factor
    prefixes = layout.draw_prefixes(weights.processor, prompts, side, negative=guided)
    flat = [(prefix, key) for prefix, row in zip(prefixes, keys, strict=False) for key in row]
    size = max(1, weights.text.rows // (1 + guided))
    out = []
    for i in range(0, len(flat), size):
        owners, block = zip(*flat[i : i + size], strict=True)
        numbers = uniforms(block, width * width).to(weights.head_CD.device)
        out.append(_draw_pass(weights, owners, prefixes[-1] if guided else None, numbers, sampling, width))
    return torch.cat(out).reshape(len(prompts), samples, -1).cpu().numpy()


def _draw_pass(
    weights: Emu3Weights, owners: Sequence[list[int]], negative: list[int] | None, numbers_SL: Tensor,
    sampling: Sampling, width: int,
) -> Tensor:  # fmt: skip
    """Codes `[S, L]` for the prefix that owns each sample, and uniform numbers."""
    decoder, guided = weights.text.decoder, negative is not None
    different = [list(prefix) for prefix in dict.fromkeys(map(tuple, owners))]
    rows = [different.index(prefix) for prefix in owners]
    if negative is not None:
        rows += [len(different)] * len(owners)
        different.append(negative)
    ids, mask = left_pad(different, weights.text.pad, numbers_SL.device)
    cache = new_cache(decoder, ids.shape[1])
    hidden_BD = forward(decoder, weights.text.embed(ids), mask, cache)[rows, -1]
    length, end = mask.shape[1], mask.shape[1] + width * (width + 1) - 2
    cache = fan_out(cache, rows, end)
    mask_BS = torch.cat([mask[rows], mask.new_ones(len(rows), end - length)], 1)
    codes: list[Tensor] = []
    for numbers_S in numbers_SL.T:
        logits_SC = guide(hidden_BD, sampling.guidance) @ weights.head_CD.T
        codes.append(choose(logits_SC.float(), numbers_S, sampling))
        following = [weights.visual_C[codes[-1]].repeat(1 + guided)]
        if len(codes) % width == 0:
            following.append(torch.full_like(following[0], weights.end_of_line))
        for ids_B in following if len(codes) < width * width else []:
            length += 1
            hidden_BD = forward(decoder, weights.text.embed(ids_B[:, None]), mask_BS[:, :length], cache)[:, -1]
    return torch.stack(codes, 1)


def token_logps(weights: Emu3Weights, prompts: Sequence[str], tokens_BL: np.ndarray, side: int) -> Tensor:
    """Log-probs float32 `[B, L]` of codes given prompts, on the CPU, with gradients; without guidance, which is a way
    to sample and no part of the policy."""
    width, device = side // weights.factor, weights.head_CD.device
    codes = torch.from_numpy(np.asarray(tokens_BL, np.int64)).to(device)
    prefixes = layout.draw_prefixes(weights.processor, prompts, side)
    out = []
    for i in range(0, len(prefixes), weights.text.rows):
        block_BL = codes[i : i + weights.text.rows]
        picture = layout.picture_ids(weights.visual_C[block_BL], weights.end_of_line, width)[:, :-2]
        ids, mask = left_pad(prefixes[i : i + weights.text.rows], weights.text.pad, device)
        before = layout.places(width).to(device) + ids.shape[1] - 1
        ids, mask = torch.cat([ids, picture], 1), torch.cat([mask, torch.ones_like(picture, dtype=torch.bool)], 1)
        with checkpointed(weights.text.decoder):
            hidden_BTD = forward(weights.text.decoder, weights.text.embed(ids), mask)
        out.append(selective_logps(hidden_BTD[:, before], weights.head_CD, block_BL))
    return torch.cat(out).cpu()
