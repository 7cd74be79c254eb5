"""Drawing visual tokens, and their log-probs: the same distribution by a cached loop and by one pass.

The prompt ends with the marker that starts a picture; then as many visual tokens follow as a picture has, chosen from
a softmax over visual tokens alone, and the end marker is given. The reference samples from the whole vocabulary, whose
nucleus it cuts, and throws away what is no picture: renormalising makes a picture of every sample, and log-probs those
of what is sampled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from silmm.kernels.selective_logps import selective_logps
from silmm.lmm.hf.choice import choose
from silmm.lmm.hf.decoder import checkpointed, fan_out, forward, left_pad, new_cache
from silmm.lmm.hf.text import uniforms
from silmm.lmm.interface import Sampling
from silmm.lmm.seed_llama import layout
from silmm.lmm.seed_llama.weights import SeedWeights


@torch.no_grad()
def draw(
    weights: SeedWeights, prompts: Sequence[str], keys: Sequence[Sequence[tuple]], sampling: Sampling
) -> np.ndarray:
    """Codes int64 `[P, N, L]`, a key each; a prompt is read once for its samples of a pass.

    Raises ValueError for guidance, which SEED-LLaMA has not.
    """
    if sampling.guidance != 1.0:
        raise ValueError("images.guidance: SEED-LLaMA draws its visual tokens without any; leave it out")
    prefixes = _prefixes(weights, prompts)
    flat = [(prefix, key) for prefix, row in zip(prefixes, keys, strict=True) for key in row]
    out = []
    for i in range(0, len(flat), weights.text.rows):
        owners, block = zip(*flat[i : i + weights.text.rows], strict=True)
        numbers_SL = uniforms(block, weights.length).to(weights.head_CD.device)
        out.append(_draw_pass(weights, owners, numbers_SL, sampling))
    return torch.cat(out).reshape(len(prompts), -1, weights.length).cpu().numpy()


def _draw_pass(weights: SeedWeights, owners: Sequence[list[int]], numbers_SL: Tensor, sampling: Sampling) -> Tensor:
    """Codes `[S, L]` for the prefix that owns each sample, and uniform numbers."""
    decoder = weights.text.decoder
    different = [list(prefix) for prefix in dict.fromkeys(map(tuple, owners))]
    rows = [different.index(prefix) for prefix in owners]
    ids, mask = left_pad(different, weights.text.pad, numbers_SL.device)
    start, end = ids.shape[1], ids.shape[1] + weights.length - 1  # the last code is never read
    cache = new_cache(decoder, start)
    hidden_SD = forward(decoder, weights.text.embed(ids), mask, cache)[rows, -1]
    cache = fan_out(cache, rows, end)
    mask_ST = torch.cat([mask[rows], mask.new_ones(len(rows), end - start)], 1)
    codes: list[Tensor] = []
    for step, numbers_S in enumerate(numbers_SL.T):
        codes.append(choose((hidden_SD @ weights.head_CD.T).float(), numbers_S, sampling))
        if step + 1 < weights.length:
            embeds_S1D = weights.text.embed(weights.visual_C[codes[-1]][:, None])
            hidden_SD = forward(decoder, embeds_S1D, mask_ST[:, : start + step + 1], cache)[:, -1]
    return torch.stack(codes, 1)


def token_logps(weights: SeedWeights, prompts: Sequence[str], tokens_BL: np.ndarray) -> Tensor:
    """Log-probs float32 `[B, L]` of codes given prompts, on the CPU, with gradients."""
    device = weights.head_CD.device
    codes = torch.from_numpy(np.ascontiguousarray(tokens_BL, np.int64)).to(device)
    prefixes = _prefixes(weights, prompts)
    out = []
    for i in range(0, len(prefixes), weights.text.rows):
        block_BL = codes[i : i + weights.text.rows]
        ids, mask = left_pad(prefixes[i : i + weights.text.rows], weights.text.pad, device)
        start, read = ids.shape[1], weights.visual_C[block_BL[:, :-1]]
        ids, mask = torch.cat([ids, read], 1), torch.cat([mask, torch.ones_like(read, dtype=torch.bool)], 1)
        with checkpointed(weights.text.decoder):
            hidden_BTD = forward(weights.text.decoder, weights.text.embed(ids), mask)
        out.append(selective_logps(hidden_BTD[:, start - 1 :], weights.head_CD, block_BL))
    return torch.cat(out).cpu()


def _prefixes(weights: SeedWeights, prompts: Sequence[str]) -> list[list[int]]:
    return [layout.draw_ids(weights.tokenizer, weights.template, prompt) for prompt in prompts]
