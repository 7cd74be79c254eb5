"""DivDrop (SILMM, arXiv 2412.05818): dropout in the last MLPs makes N different features of one prompt.

A mask is named, not drawn: every implementation, batch and order gives the same bits for the same names.

    key       `mask_key(seed, .., iteration, prompt id)`
    counter   (8-element group in the row, position in the prompt, sample, 2 layer + site)
    lane      of element e: sixteen bits, number e % 8 of Philox4x32-10 at group e // 8 (lane 2w + h is half h of
              word w, the low half first)
    kept      where lane >= threshold = round(65536 rate), and scaled by 65536 / (65536 - threshold)

so the mean is kept exactly. The sites of a Llama MLP, down(silu(gate) * up):

    hidden    between the product and `down`; the gates of one trunk [P, T, F] fan out to N samples [P, N, T, F]
    output    on what `down` returns

Masks are the same everywhere; values agree to rounding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from silmm.kernels import _dispatch
from silmm.kernels.arguments import check_finite, describe
from silmm.kernels.philox import LANES, lanes, philox
from silmm.rng import torch_seed

SITES = ("hidden", "output")
ONE = 1 << 16  # probabilities are multiples of 1 / ONE
WORDS = 1 << 32  # positions and samples are words of the counter
MAX_LAYERS = WORDS // len(SITES)


def mask_key(*names: object) -> int:
    """The key of a prompt's masks, from what names it (seed, stage, iteration, prompt id): 63 bits, so that it fits an
    int64 tensor; the same on every machine."""
    return torch_seed("divdrop", *names)


def divdrop(
    x: Tensor,
    up: Tensor | None = None,
    *,
    keys_P: Tensor,
    samples_N: Tensor,
    positions_T: Tensor,
    layer: int,
    site: str = "hidden",
    rate: float,
    masked_T: Tensor | None = None,
    impl: str = "auto",
) -> Tensor:
    """What goes on from an MLP's site in N samples of each prompt, [P, N, T, F] in the dtype of `x`.

    Args:
        x: the gate (`hidden`) or the MLP's output (`output`): floating [P, T, F], the same for all samples, or
            [P, N, T, F], one for each; any strides.
        up: at `hidden`, like x; not given at `output`.
        keys_P: int64 [P], a `mask_key` for each prompt.
        samples_N: int64 [N] or [P, N], in [0, 2^32): which samples these are, not their places in the batch.
        positions_T: int64 [T] or [P, T], in [0, 2^32): positions in the prompt, not in a padded row.
        layer: number of the layer in the model, from 0.
        site: `hidden` or `output`.
        rate: in [0, 1), share of elements that become 0; at 0 this is the plain SwiGLU, bit for bit.
        masked_T: bool [T] or [P, T], true where masks apply (say, at the dream queries only); elsewhere values pass as
            they are. Without it masks apply everywhere.
        impl: `reference` or `auto`.

    Raises:
        ValueError: a wrong argument, or a number in x or up that is not finite (a mask would hide it), by name.
    """
    slot, threshold = _slot(layer, site), _threshold(rate)
    _check_values(x, up, site)
    prompts, samples, positions = len(x), x.shape[1] if x.dim() == 4 else None, x.shape[-2]
    _check_keys(keys_P, prompts, x.device)
    samples_PN = _rows("samples", samples_N, prompts, samples, x.device)
    positions_PT = _rows("positions", positions_T, prompts, positions, x.device)
    masked_PT = None if masked_T is None else _rows("masked", masked_T, prompts, positions, x.device, torch.bool)
    _dispatch.choose("divdrop", impl, x.device)  # refuses a name that is none; there is one implementation
    return reference(x, up, keys_P, samples_PN, positions_PT, masked_PT, slot, threshold)


def drop_mask(
    keys_P: Tensor, samples_N: Tensor, positions_T: Tensor, width: int, layer: int, site: str, rate: float
) -> Tensor:
    """The definition of the masks: bool [P, N, T, width], TRUE where an element is kept. Arguments as of `divdrop`."""
    slot, threshold = _slot(layer, site), _threshold(rate)
    if width < 0:
        raise ValueError(f"width: expected a number of elements, given {width}")
    _check_keys(keys_P, None, keys_P.device)
    samples_PN = _rows("samples", samples_N, len(keys_P), None, keys_P.device)
    positions_PT = _rows("positions", positions_T, len(keys_P), None, keys_P.device)
    return _kept(keys_P, samples_PN, positions_PT, width, slot, threshold)


def reference(
    x: Tensor, up: Tensor | None, keys_P: Tensor, samples_PN: Tensor, positions_PT: Tensor,
    masked_PT: Tensor | None, slot: int, threshold: int,
) -> Tensor:  # fmt: skip
    """The definition, in plain torch, on any device, with gradients. Arguments are taken as checked."""
    values = x if up is None else F.silu(x) * up
    values_PNTF = values if values.dim() == 4 else values[:, None]
    kept_PNTF = _kept(keys_P, samples_PN, positions_PT, values.shape[-1], slot, threshold)
    # Products, not a choice: 0 * nan stays nan. The scale is a number, not a tensor: in bfloat16 it would be rounded.
    out_PNTF = values_PNTF * kept_PNTF * (ONE / (ONE - threshold))
    if masked_PT is None:
        return out_PNTF
    return torch.where(masked_PT[:, None, :, None], out_PNTF, values_PNTF)


def _kept(keys_P: Tensor, samples_PN: Tensor, positions_PT: Tensor, width: int, slot: int, threshold: int) -> Tensor:
    """Bool [P, N, T, width]: true where the lane of an element reaches the threshold."""
    group_G = torch.arange(-(-width // LANES), device=keys_P.device)
    counter = (group_G, positions_PT[:, None, :, None], samples_PN[:, :, None, None], torch.full_like(group_G, slot))
    words = philox(counter, keys_P[:, None, None, None])
    return torch.stack([lane >= threshold for lane in lanes(words)], -1).flatten(-2)[..., :width]


def _slot(layer: int, site: str) -> int:
    """The counter's last word."""
    if site not in SITES:
        raise ValueError(f"site: expected {' or '.join(SITES)}, given {site!r}")
    if not 0 <= layer < MAX_LAYERS:
        raise ValueError(f"layer: expected in [0, {MAX_LAYERS}), given {layer}")
    return layer * len(SITES) + SITES.index(site)


def _threshold(rate: float) -> int:
    """The lowest lane that is kept. Made here alone, so that no implementation has to round."""
    threshold = round(rate * ONE) if 0 <= rate < 1 else ONE  # also where rate is nan
    if threshold == ONE:
        raise ValueError(f"rate: expected a number in [0, 1) that does not round to 1 in 16 bits, given {rate}")
    return threshold


def _check_values(x: Tensor, up: Tensor | None, site: str) -> None:
    """Raise ValueError naming the argument, what is expected and what was given."""
    if x.dim() not in (3, 4) or not x.is_floating_point():
        raise ValueError(f"x: expected floating [P, T, F] or [P, N, T, F], given {describe(x)}")
    check_finite("x", x.detach())
    if site == "output":
        if up is not None:
            raise ValueError(f"up: expected none at site output, given {describe(up)}")
        return
    if up is None or up.shape != x.shape or up.dtype != x.dtype:
        given = "none" if up is None else describe(up)
        raise ValueError(f"up: expected {describe(x)} like x at site hidden, given {given}")
    _check_device("up", up, x.device)
    check_finite("up", up.detach())


def _check_keys(keys_P: Tensor, prompts: int | None, device: torch.device) -> None:
    if keys_P.dim() != 1 or keys_P.dtype != torch.int64 or prompts not in (None, len(keys_P)):
        raise ValueError(f"keys: expected int64 [{'P' if prompts is None else prompts}], given {describe(keys_P)}")
    _check_device("keys", keys_P, device)


def _rows(
    name: str, tensor: Tensor, prompts: int, count: int | None, device: torch.device, dtype: torch.dtype = torch.int64
) -> Tensor:
    """`tensor` [n] or [P, n] as [P, n], with n = count where that is known; integers must fit a word of the counter."""
    *rows, given = tensor.shape or (-1,)
    if (
        rows not in ([], [prompts])
        or given != (given if count is None else count)
        or given < 0
        or tensor.dtype != dtype
    ):
        n, kind = "n" if count is None else count, str(dtype).removeprefix("torch.")
        raise ValueError(f"{name}: expected {kind} [{n}] or [{prompts}, {n}], given {describe(tensor)}")
    _check_device(name, tensor, device)
    if dtype == torch.int64:
        outside = tensor[(tensor < 0) | (tensor >= WORDS)]
        if len(outside):
            raise ValueError(f"{name}: expected values in [0, {WORDS}), given {int(outside[0])}")
    return tensor.expand(prompts, given)


def _check_device(name: str, tensor: Tensor, device: torch.device) -> None:
    if tensor.device != device:
        raise ValueError(f"{name}: expected on {device}, given on {tensor.device}")
