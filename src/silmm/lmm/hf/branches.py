"""Many questions on one prefix, an image say, which is read once: packed into one sequence, hidden from each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from silmm.lmm.hf.text import TextModel
from silmm.probability import mass

Branches = Sequence[Sequence[Sequence[int]]]  # ids of each branch of each row


def packed_width(branches: Branches) -> int:
    """Positions that the longest row's branches take together: the room that a cache needs behind its prefix."""
    return max((sum(map(len, row)) for row in branches), default=0)


@torch.no_grad()
def yes_no(
    model: TextModel, cache: Any, mask_BP: Tensor, branches: Branches, words: tuple[list[int], list[int]]
) -> list[np.ndarray]:
    """(p_yes, p_no) float32 `[n_i, 2]` of each row's branches: next-token probabilities, over the whole vocabulary,
    after a branch that continues the row's prefix.

    Args:
        cache: what the prefixes left; with room for `packed_width(branches)` positions more, which it is filled with.
        mask_BP: which positions of the prefixes are real.
        branches: none of them empty; a row may have none.
        words: ids that say yes, ids that say no.
    """
    out = []
    for hidden_ND in _hidden(model, cache, mask_BP, branches):
        probs_NV = model.head(hidden_ND).float().softmax(-1)
        out.append(torch.stack([mass(probs_NV, ids) for ids in words], 1).cpu().numpy())
    return out


def _hidden(model: TextModel, cache: Any, mask_BP: Tensor, branches: Branches) -> list[Tensor]:
    """Last hidden states `[n_i, D]` at the end of each branch; each starts at the place after its row's prefix, and
    sees the prefix and itself alone."""
    device, width = mask_BP.device, packed_width(branches)
    if not width:
        return [model.head.weight.new_zeros(0, model.head.in_features) for _ in branches]
    ids_BT = np.full((len(branches), width), model.pad)
    owner_BT, places_BT = np.full_like(ids_BT, -1), np.zeros_like(ids_BT)
    ends = []
    for i, row in enumerate(branches):
        used = sum(map(len, row))
        ids_BT[i, :used] = [token for branch in row for token in branch]
        owner_BT[i, :used] = [k for k, branch in enumerate(row) for _ in branch]
        places_BT[i, :used] = [place for branch in row for place in range(len(branch))]
        ends.append(np.cumsum([len(branch) for branch in row], dtype=np.int64) - 1)
    ids, owner, places = (torch.from_numpy(a).to(device) for a in (ids_BT, owner_BT, places_BT))
    own_BTT = (owner[:, :, None] == owner[:, None]).tril()
    mask_BTS = torch.cat([mask_BP[:, None].expand(-1, width, -1), own_BTT], 2)
    hidden_BTD = model.decoder(
        inputs_embeds=model.embed(ids), attention_mask=mask_BTS[:, None],
        position_ids=places + mask_BP.sum(1, keepdim=True), past_key_values=cache, use_cache=True,
    ).last_hidden_state  # fmt: skip
    return [hidden_BTD[i, torch.from_numpy(rows).to(device)] for i, rows in enumerate(ends)]
