"""From hidden states to visual tokens: guidance, the likeliest few, the nucleus."""

from __future__ import annotations

import torch
from torch import Tensor

from silmm.kernels.nucleus import nucleus
from silmm.lmm.interface import Sampling


def guide(states_BD: Tensor, guidance: float) -> Tensor:
    """u + guidance (c - u), `[S, D]`, of S rows given the prompt (c) and, behind them, S without it (u); with
    guidance 1 all rows are given the prompt, and stay (Ho and Salimans, arXiv 2207.12598).

    Of the states before a linear head, with or without a bias: the logits are guided the same, for half the products.
    Some references guide log-softmaxed logits; that shifts a whole row by one number, so it chooses the same.
    """
    if guidance == 1.0:
        return states_BD
    given, free = states_BD.float().chunk(2)
    return (free + guidance * (given - free)).to(states_BD.dtype)


def choose(logits_SC: Tensor, numbers_S: Tensor, sampling: Sampling) -> Tensor:
    """One token each, int64 `[S]`: of the `top_k` likeliest, the nucleus, by uniform numbers."""
    if 0 < sampling.top_k < logits_SC.shape[1]:
        lowest = logits_SC.topk(sampling.top_k).values[:, -1:]
        logits_SC = logits_SC.masked_fill(logits_SC < lowest, float("-inf"))
    return nucleus(logits_SC, numbers_S.contiguous(), temperature=sampling.temperature, top_p=sampling.top_p)


def head_rows(weight_VD: Tensor, ids_C: Tensor) -> Tensor:
    """A head's rows of the visual tokens, `[C, D]`: a view where they stand together, as in published weights."""
    first, codes = int(ids_C[0]), len(ids_C)
    if torch.equal(ids_C, torch.arange(first, first + codes, device=ids_C.device)):
        return weight_VD[first : first + codes]
    return weight_VD[ids_C]
