"""The cache, the left padding and the checkpointed gradients change nothing."""

from __future__ import annotations

import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from silmm.lmm.hf import decoder as decoders

ROWS = [[1, 5, 7], [1, 9, 11, 13, 15, 17], [1, 3]]


@torch.no_grad()
def test_cached_and_padded_is_plain(llama: LlamaForCausalLM) -> None:
    decoder = llama.model
    ids, mask = decoders.left_pad(ROWS, 0)
    cache = decoders.new_cache(decoder, 6)
    embeds = decoder.embed_tokens(ids)
    parts = [decoders.forward(decoder, embeds[:, a:b], mask[:, :b], cache) for a, b in ((0, 4), (4, 5), (5, 6))]
    found = torch.cat(parts, 1)
    for i, row in enumerate(ROWS):
        wanted = decoder(torch.tensor([row])).last_hidden_state[0]
        torch.testing.assert_close(found[i, -len(row) :], wanted, atol=1e-5, rtol=0)


@torch.no_grad()
def test_fan_out_continues_its_rows(llama: LlamaForCausalLM) -> None:
    decoder = llama.model
    ids, mask = decoders.left_pad(ROWS, 0)
    cache = decoders.new_cache(decoder, 6)
    decoders.forward(decoder, decoder.embed_tokens(ids), mask, cache)
    rows = [2, 0, 0, 1]
    more = decoders.fan_out(cache, rows, 8)
    for token in (20, 21):
        mask = torch.cat([mask, mask.new_ones(3, 1)], 1)
        hidden = decoders.forward(decoder, decoder.embed_tokens(torch.full((4, 1), token)), mask[rows], more)
    for i, row in enumerate(rows):
        wanted = decoder(torch.tensor([[*ROWS[row], 20, 21]])).last_hidden_state[0, -1]
        torch.testing.assert_close(hidden[i, -1], wanted, atol=1e-5, rtol=0)
    assert cache.get_seq_length() == 6


@torch.no_grad()
def test_a_full_cache_says_so(llama: LlamaForCausalLM) -> None:
    cache = decoders.new_cache(llama.model, 2)
    with pytest.raises(ValueError, match="room for 2 positions, not for 3"):
        decoders.forward(llama.model, torch.zeros(1, 3, 32), torch.ones(1, 3, dtype=torch.bool), cache)


def test_checkpoints_change_no_gradient(llama: LlamaForCausalLM) -> None:
    decoder = llama.model
    ids, mask = decoders.left_pad(ROWS, 0)
    grads, hiddens = [], []
    for checkpoints in (False, True):
        decoder.zero_grad()
        if checkpoints:
            with decoders.checkpointed(decoder):
                assert all(layer.training for layer in decoder.layers)
                assert sum(module.training for module in decoder.modules()) == len(decoder.layers)
                hidden = decoders.forward(decoder, decoder.embed_tokens(ids), mask)
        else:
            hidden = decoders.forward(decoder, decoder.embed_tokens(ids), mask)
        assert not any(module.training for module in decoder.modules())
        hidden[mask].square().sum().backward()
        hiddens.append(hidden.detach())
        grads.append([p.grad.clone() for p in decoder.parameters()])
    assert torch.equal(*hiddens)  # the toy has an attention dropout of one half: it is not switched on
    for plain, kept in zip(*grads, strict=True):
        torch.testing.assert_close(plain, kept, atol=1e-6, rtol=1e-6)


def test_checkpoints_keep_less(llama: LlamaForCausalLM) -> None:
    """What is saved for the backward pass, in numbers."""
    decoder = llama.model
    ids, mask = decoders.left_pad([[3] * 24] * 4, 0)

    def saved(checkpoints: bool) -> int:
        kept: dict[int, int] = {}

        def pack(x: torch.Tensor) -> torch.Tensor:
            kept[x.data_ptr()] = x.numel()
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            if checkpoints:
                with decoders.checkpointed(decoder):
                    decoders.forward(decoder, decoder.embed_tokens(ids), mask)
            else:
                decoders.forward(decoder, decoder.embed_tokens(ids), mask)
        return sum(kept.values())

    assert saved(True) < saved(False) / 3


def test_no_checkpoints_without_gradients(llama: LlamaForCausalLM) -> None:
    with torch.no_grad(), decoders.checkpointed(llama.model):
        assert not llama.model.layers[0].training  # it would ignore its cache


def test_no_graph_where_nothing_learns(llama: LlamaForCausalLM) -> None:
    """Another model's frozen weights: transformers' checkpoints alone would make gradients of its embeddings."""
    decoder = llama.model.requires_grad_(False)
    ids, mask = decoders.left_pad([[1, 5, 6]], 0)
    with decoders.checkpointed(decoder):
        assert not decoders.forward(decoder, decoder.embed_tokens(ids), mask).requires_grad
