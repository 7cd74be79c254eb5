"""One step of decoding: N samples of each prompt attend to the prompt's shared prefix and to what they have decoded.

For every row b (sample b % N of prompt b // N) and head, with R the rotation of rotary positions (Su et al., arXiv
2104.09864, in Llama's layout: halves, not neighbours):

    keys[b, place], values[b, place] = R k, v
    context = softmax(scale * (R q) . [prefix keys of the prompt, own keys up to place]) [prefix values, own values]

A step has one query a row, so batched matrix products have nothing to batch: in plain torch most of a small model's
decoding time goes into them, and into copies around them. The kernel makes one pass over the cache.

Implementations agree to float32 rounding. `cpp` gives the same bits on every x86-64 (its sums have a fixed order).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from silmm.kernels import _dispatch

MULTIPLE = 8  # whole vectors: other numbers of places work too, slower


class Prefix(NamedTuple):
    """Keys and values of the prompts, once for all samples."""

    keys_PHDT: Tensor  # rotated; transposed, so that scores of one query lie along memory
    values_PHTD: Tensor
    seen_PT: Tensor  # bool; padding is not seen


class Cache(NamedTuple):
    """Keys and values of what the samples have decoded so far, with room for L places; the kernel writes into it."""

    keys_BHDL: Tensor
    values_BHLD: Tensor


def new_prefix(keys_PHTD: Tensor, values_PHTD: Tensor, seen_PT: Tensor) -> Prefix:
    """The prefix in the kernel's layout, with room to a multiple of MULTIPLE places, which are not seen."""
    more = -seen_PT.shape[1] % MULTIPLE
    keys, values = (torch.nn.functional.pad(x, (0, 0, 0, more)) for x in (keys_PHTD, values_PHTD))
    return Prefix(keys.transpose(2, 3).contiguous(), values.contiguous(), torch.nn.functional.pad(seen_PT, (0, more)))


def new_cache(rows: int, heads: int, length: int, dim: int) -> Cache:
    """An empty cache for `length` places or a few more (never read before it is written)."""
    length += -length % MULTIPLE
    return Cache(torch.empty(rows, heads, dim, length), torch.empty(rows, heads, length, dim))


def decode_attention(
    q_BHD: Tensor,
    k_BHD: Tensor,
    v_BHD: Tensor,
    rotary_2D: tuple[Tensor, Tensor],
    prefix: Prefix,
    cache: Cache,
    place: int,
    *,
    scale: float,
    impl: str = "auto",
) -> Tensor:
    """Context float32 [B, H, D] of one step; writes the step's keys and values into `cache` at `place`.

    Args:
        q_BHD, k_BHD, v_BHD: float32, contiguous, CPU, not yet rotated; B = P x N, a prompt's samples side by side.
        rotary_2D: cosines and sines [D] of the step's position.
        prefix, cache: contiguous.
        place: in [0, L); all earlier places of the cache have been written.
        scale: of the scores, D ** -0.5 in Llama.
        impl: `reference`, `cpp`, or `auto`: cpp where it is built, else reference.

    Raises:
        ValueError: a tensor that is not as said above, by name, or a place outside the cache.
        RuntimeError: `impl` is not available here.
    """
    _check(q_BHD, k_BHD, v_BHD, rotary_2D, prefix, cache, place)
    chosen = _dispatch.choose("decode_attention", impl, q_BHD.device)
    run = _cpp if chosen == "cpp" else reference
    return run(q_BHD, k_BHD, v_BHD, rotary_2D, prefix, cache, place, scale)


def _rotate(x_BHD: Tensor, cos_D: Tensor, sin_D: Tensor) -> Tensor:
    first, second = x_BHD.chunk(2, -1)
    return x_BHD * cos_D + torch.cat([-second, first], -1) * sin_D


def reference(
    q_BHD: Tensor, k_BHD: Tensor, v_BHD: Tensor, rotary_2D: tuple[Tensor, Tensor], prefix: Prefix, cache: Cache,
    place: int, scale: float,
) -> Tensor:  # fmt: skip
    """The definition, in plain torch. Arguments are taken as checked."""
    prompts, heads, dim, start = prefix.keys_PHDT.shape
    cache.keys_BHDL[..., place] = _rotate(k_BHD, *rotary_2D)
    cache.values_BHLD[..., place, :] = v_BHD
    q_BHD = _rotate(q_BHD, *rotary_2D)
    samples = len(q_BHD) // max(1, prompts)
    q_PHND = q_BHD.view(prompts, samples, heads, dim).transpose(1, 2)
    shared_PHNT = (q_PHND @ prefix.keys_PHDT).masked_fill(~prefix.seen_PT[:, None, None], float("-inf"))
    shared_BHT = shared_PHNT.transpose(1, 2).flatten(0, 1)
    own_BHt = (q_BHD[:, :, None] @ cache.keys_BHDL[..., : place + 1])[:, :, 0]
    weights = (torch.cat([shared_BHT, own_BHt], -1) * scale).softmax(-1)
    past_PHNT = weights[..., :start].reshape(prompts, samples, heads, start).transpose(1, 2)
    context_PHND = past_PHNT @ prefix.values_PHTD
    own_BHD = (weights[:, :, None, start:] @ cache.values_BHLD[..., : place + 1, :])[:, :, 0]
    return context_PHND.transpose(1, 2).flatten(0, 1) + own_BHD


def _cpp(
    q_BHD: Tensor, k_BHD: Tensor, v_BHD: Tensor, rotary_2D: tuple[Tensor, Tensor], prefix: Prefix, cache: Cache,
    place: int, scale: float,
) -> Tensor:  # fmt: skip
    """csrc/decode_attention.cpp: rotation, cache, scores, softmax and context of a row while it is in cache."""
    module, _ = _dispatch.extension()
    prompts, heads, dim, start = prefix.keys_PHDT.shape
    out_BHD = torch.empty_like(q_BHD)
    tensors = (q_BHD, k_BHD, v_BHD, *rotary_2D, *prefix, *cache, out_BHD)
    sizes = (prompts, len(q_BHD) // prompts if prompts else 0, heads, dim, start, cache.keys_BHDL.shape[-1], place)
    module.decode_attention(*sizes, scale, [t.data_ptr() for t in tensors], _dispatch.isa())
    return out_BHD


def _check(
    q_BHD: Tensor, k_BHD: Tensor, v_BHD: Tensor, rotary_2D: tuple[Tensor, Tensor], prefix: Prefix, cache: Cache,
    place: int,
) -> None:  # fmt: skip
    """Raise ValueError naming the argument, what is expected and what was given."""
    if q_BHD.dim() != 3 or q_BHD.shape[2] % 2 or 0 in q_BHD.shape[1:]:
        raise ValueError(f"q: expected [B, H, D] with an even D, given {list(q_BHD.shape)}")
    rows, heads, dim = q_BHD.shape
    if prefix.keys_PHDT.dim() != 4 or cache.keys_BHDL.dim() != 4:
        raise ValueError("prefix.keys, cache.keys: expected four dimensions")
    prompts, start, length = len(prefix.keys_PHDT), prefix.keys_PHDT.shape[3], cache.keys_BHDL.shape[3]
    if rows % max(1, prompts) or (rows and not prompts):
        raise ValueError(f"q: expected a multiple of {prompts} rows, the prompts of the prefix, given {rows}")
    if not 0 <= place < length:
        raise ValueError(f"place: expected in [0, {length}), the places of the cache, given {place}")
    wanted = {
        "q": (q_BHD, (rows, heads, dim)),
        "k": (k_BHD, (rows, heads, dim)),
        "v": (v_BHD, (rows, heads, dim)),
        "cos": (rotary_2D[0], (dim,)),
        "sin": (rotary_2D[1], (dim,)),
        "prefix.keys": (prefix.keys_PHDT, (prompts, heads, dim, start)),
        "prefix.values": (prefix.values_PHTD, (prompts, heads, start, dim)),
        "prefix.seen": (prefix.seen_PT, (prompts, start)),
        "cache.keys": (cache.keys_BHDL, (rows, heads, dim, length)),
        "cache.values": (cache.values_BHLD, (rows, heads, length, dim)),
    }
    for name, (tensor, shape) in wanted.items():
        dtype = torch.bool if name == "prefix.seen" else torch.float32
        if tuple(tensor.shape) != shape or tensor.dtype != dtype or not tensor.is_contiguous():
            given = f"{tensor.dtype} {list(tensor.shape)}{'' if tensor.is_contiguous() else ', not contiguous'}"
            raise ValueError(f"{name}: expected contiguous {dtype} {list(shape)}, given {given}")
        if tensor.device != q_BHD.device:
            raise ValueError(f"{name}: expected on {q_BHD.device} like q, given on {tensor.device}")
