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

Values are the same bits everywhere too: float32 inside, in single operations (silu from `silmm.kernels.sigmoid`), times
the scale or 0, and one rounding to the dtype at the end. Gradients agree to rounding; each implementation repeats its
own. float64 is for the reference alone, with torch's silu.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from silmm.kernels import _dispatch
from silmm.kernels.arguments import DTYPES, describe
from silmm.kernels.philox import LANES, lanes, philox
from silmm.kernels.sigmoid import silu
from silmm.rng import torch_seed

SITES = ("hidden", "output")
ONE = 1 << 16  # probabilities are multiples of 1 / ONE
WORDS = 1 << 32  # positions and samples are words of the counter
MAX_LAYERS = WORDS // len(SITES)


class Masks(NamedTuple):
    """What names the masks of a call, as implementations take it: checked."""

    keys_P: Tensor
    samples_PN: Tensor
    positions_PT: Tensor
    masked_PT: Tensor | None
    slot: int  # the counter's last word
    threshold: int  # the lowest lane that is kept

    @property
    def scale(self) -> float:
        """Of what is kept."""
        return ONE / (ONE - self.threshold)


def strides_of(tensor: Tensor | None) -> tuple[int, int, int]:
    """Of prompts, samples and positions; 0 from sample to sample in [P, T, F], which they share."""
    if tensor is None:
        return 0, 0, 0
    prompt, *sample, position, _ = tensor.stride()
    return prompt, *(sample or (0,)), position


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
        rate: in [0, 1), share of elements that become 0; at 0 this is the plain SwiGLU.
        masked_T: bool [T] or [P, T], true where masks apply (say, at the dream queries only); elsewhere values pass as
            they are. Without it masks apply everywhere.
        impl: `reference`, `cpp`, `triton`, `cuda` or `auto`.

    Infinities and NaN are not hidden: a masked one is 0 * inf, or NaN. Gradients go to x and up.

    Raises:
        ValueError: a wrong argument, by name. Values of samples and positions are checked on the CPU alone.
        RuntimeError: `impl` is not available here.
    """
    slot, threshold = _slot(layer, site), _threshold(rate)
    _check_values(x, up, site)
    prompts, samples, positions = len(x), x.shape[1] if x.dim() == 4 else None, x.shape[-2]
    _check_keys(keys_P, prompts, x.device)
    samples_PN = _rows("samples", samples_N, prompts, samples, x.device)
    positions_PT = _rows("positions", positions_T, prompts, positions, x.device)
    masked_PT = None if masked_T is None else _rows("masked", masked_T, prompts, positions, x.device, torch.bool)
    masks = Masks(keys_P, samples_PN, positions_PT, masked_PT, slot, threshold)
    chosen = _dispatch.choose("divdrop", impl, x.device, "" if x.dtype in DTYPES else describe(x))
    if chosen == "reference":
        return reference(x, up, masks)
    return DivDropFunction.apply(x, up, masks, _kernels(chosen))


def drop_mask(
    keys_P: Tensor, samples_N: Tensor, positions_T: Tensor, width: int, layer: int, site: str, rate: float
) -> Tensor:
    """The definition of the masks: bool [P, N, T, width], TRUE where an element is kept. Arguments as of `divdrop`."""
    if width < 0:
        raise ValueError(f"width: expected a number of elements, given {width}")
    _check_keys(keys_P, None, keys_P.device)
    samples_PN = _rows("samples", samples_N, len(keys_P), None, keys_P.device)
    positions_PT = _rows("positions", positions_T, len(keys_P), None, keys_P.device)
    return _kept(Masks(keys_P, samples_PN, positions_PT, None, _slot(layer, site), _threshold(rate)), width)


def reference(x: Tensor, up: Tensor | None, masks: Masks) -> Tensor:
    """The definition, in plain torch, on any device, with gradients. Arguments are taken as checked."""
    wide = torch.promote_types(x.dtype, torch.float32)
    values = x.to(wide) if up is None else silu(x.to(wide)) * up.to(wide)
    values_PNTF = values if values.dim() == 4 else values[:, None]
    factors_PNTF = _kept(masks, x.shape[-1]).to(wide) * masks.scale
    if masks.masked_PT is not None:
        factors_PNTF = factors_PNTF.masked_fill(~masks.masked_PT[:, None, :, None], 1.0)
    return (values_PNTF * factors_PNTF).to(x.dtype)  # a product, not a choice: 0 * nan stays nan


class DivDropFunction(torch.autograd.Function):
    """An implementation's forward and backward. Masks are made twice, and not kept in between."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, up: Tensor | None, masks: Masks, kernels: ModuleType) -> Tensor:
        """As `reference`."""
        ctx.save_for_backward(x, up, *masks[:4])
        ctx.rest, ctx.kernels = masks[4:], kernels
        return kernels.divdrop_fwd(x, up, masks)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_PNTF: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        """Of x and up."""
        x, up, *names = ctx.saved_tensors
        return *ctx.kernels.divdrop_bwd(x, up, grad_PNTF, Masks(*names, *ctx.rest)), None, None


def _kernels(impl: str) -> ModuleType:
    """The module with `divdrop_fwd` and `divdrop_bwd` of an implementation."""
    if impl == "triton":
        from silmm.kernels import divdrop_triton

        return divdrop_triton
    from silmm.kernels import divdrop_native

    return divdrop_native


def _kept(masks: Masks, width: int) -> Tensor:
    """Bool [P, N, T, width]: true where the lane of an element reaches the threshold."""
    group_G = torch.arange(-(-width // LANES), device=masks.keys_P.device)
    slot_G = torch.full_like(group_G, masks.slot)
    counter = (group_G, masks.positions_PT[:, None, :, None], masks.samples_PN[:, :, None, None], slot_G)
    words = philox(counter, masks.keys_P[:, None, None, None])
    return torch.stack([lane >= masks.threshold for lane in lanes(words)], -1).flatten(-2)[..., :width]


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
    if site == "output":
        if up is not None:
            raise ValueError(f"up: expected none at site output, given {describe(up)}")
        return
    if up is None or up.shape != x.shape or up.dtype != x.dtype:
        given = "none" if up is None else describe(up)
        raise ValueError(f"up: expected {describe(x)} like x at site hidden, given {given}")
    _check_device("up", up, x.device)


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
    if dtype == torch.int64 and tensor.device.type == "cpu":  # elsewhere a look at values would wait for the device
        outside = tensor[(tensor < 0) | (tensor >= WORDS)]
        if len(outside):
            raise ValueError(f"{name}: expected values in [0, {WORDS}), given {int(outside[0])}")
    return tensor.expand(prompts, given)


def _check_device(name: str, tensor: Tensor, device: torch.device) -> None:
    if tensor.device != device:
        raise ValueError(f"{name}: expected on {device}, given on {tensor.device}")
