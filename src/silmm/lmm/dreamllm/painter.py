"""DreamLLM's decoder: features, projected, are what Stable Diffusion's UNet attends to in place of a text.

The pipeline's folder gives three configs; the weights are DreamLLM's own file, the VAE's and the UNet's included. The
scheduler's config is that of another scheduler, and read as DDPM's, as the reference does: noise is drawn at every
step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from silmm.errors import InputError
from silmm.lmm.dreamllm.projector import Projector
from silmm.lmm.hf.pickled import Shapes, fill, same_weights
from silmm.model_sizes import check_counts, on_meta
from silmm.rng import torch_seed
from silmm.typed_json import loads

FILE = "stable_diffusion_head.bin"
CONFIGS = ("unet/config.json", "vae/config.json", "scheduler/scheduler_config.json")
TAKE = "take the folders unet, vae and scheduler of Stable Diffusion 2.1 base"


class Painter(nn.Module):
    """UNet, VAE and projector, under the names of the published weights; and the scheduler."""

    def __init__(self, folder: Path, width: int) -> None:
        """An empty one. Raises InputError where a config is missing or will not do."""
        from diffusers import AutoencoderKL, UNet2DConditionModel

        super().__init__()
        unet, vae, scheduler = (read_config(folder / name) for name in CONFIGS)
        try:
            self.unet = UNet2DConditionModel.from_config(unet)
            self.vae = AutoencoderKL.from_config(vae)
        except InputError:
            raise
        except Exception as error:  # of many kinds: diffusers hands the fields to each block
            reason = " ".join(str(error).split())
            raise InputError(f"{folder}: a config that diffusers cannot use ({reason}): {TAKE}") from error
        with torch.device("cpu"):  # its tables are in no state dict
            self.scheduler = _scheduler(folder / CONFIGS[2], scheduler)
        self.projector = Projector(width, self.unet.config.cross_attention_dim, bias=False)

    @property
    def dtype(self) -> torch.dtype:
        """Of UNet and projector; the VAE is in float32, whose rounding would be seen."""
        return self.projector.projector.weight.dtype

    def project(self, feats: Tensor) -> Tensor:
        """What the UNet attends to `[..., Q, C]`, of features `[..., Q, D]`."""
        return self.projector(feats.to(self.dtype))

    @torch.no_grad()
    def paint(
        self, context_NQC: Tensor, free_QC: Tensor, keys: Sequence[tuple], *, steps: int, guidance: float, rows: int
    ) -> np.ndarray:
        """Pictures uint8 `[n, side, side, 3]`, each with the noise that its key names, of the start and of every step.

        Args:
            context_NQC: projected features of the pictures.
            free_QC: of no prompt; the noise is estimated as u + guidance (c - u) where guidance is above 1.
            keys: one a picture; those with the same key have the same noise.
            rows: of the UNet's passes: with guidance a picture takes two.
        """
        size = max(1, rows // 2 if guidance > 1 else rows)
        out = []
        for i in range(0, len(context_NQC), size):
            block = context_NQC[i : i + size]
            if guidance > 1:
                block = torch.cat([block, free_QC.expand_as(block)])
            out.append(self._paint(block, keys[i : i + size], steps, guidance))
        side = self.unet.config.sample_size * 2 ** (len(self.vae.config.block_out_channels) - 1)
        return np.concatenate(out) if out else np.zeros((0, side, side, 3), np.uint8)

    def _paint(self, context_RQC: Tensor, keys: Sequence[tuple], steps: int, guidance: float) -> np.ndarray:
        from diffusers.utils.torch_utils import randn_tensor

        device, config = context_RQC.device, self.unet.config
        # A generator each, on the CPU: a picture's noise depends neither on its batch nor on the device.
        noise = [torch.Generator().manual_seed(torch_seed(*key)) for key in keys]
        shape = (len(keys), config.in_channels, config.sample_size, config.sample_size)
        latents = randn_tensor(shape, generator=noise, device=device, dtype=torch.float32)
        latents = latents * self.scheduler.init_noise_sigma
        self.scheduler.set_timesteps(steps, device=device)
        for time in self.scheduler.timesteps:
            given = self.scheduler.scale_model_input(latents, time).to(self.dtype)
            given = given.repeat(len(context_RQC) // len(keys), 1, 1, 1)
            estimate = self.unet(given, time, encoder_hidden_states=context_RQC).sample.float()
            if guidance > 1:
                with_prompt, without = estimate.chunk(2)
                estimate = without + guidance * (with_prompt - without)
            latents = self.scheduler.step(estimate, time, latents, generator=noise).prev_sample
        pixels = self.vae.decode(latents / self.vae.config.scaling_factor).sample
        pixels = (pixels / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
        return (pixels * 255).round().to(torch.uint8).cpu().numpy()


def read_config(file: Path) -> dict[str, Any]:
    """One of the pipeline's configs. Raises InputError where it is missing, or no JSON object."""
    try:
        fields = loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{file}: no such file: {TAKE}") from None
    except ValueError as error:
        raise InputError(f"{file}: not JSON ({error}): download it again") from None
    if not isinstance(fields, dict):
        raise InputError(f"{file}: not a JSON object: download it again")
    check_counts(file, fields, None)
    return fields


def _scheduler(file: Path, fields: Mapping[str, Any]) -> Any:
    import inspect

    from diffusers import DDPMScheduler

    if "clip_sample" not in fields:
        raise InputError(
            f"{file}: no clip_sample: DDPM would cut its latents to [-1, 1], which Stable Diffusion's are not: {TAKE}"
        )
    known = inspect.signature(DDPMScheduler.__init__).parameters
    return DDPMScheduler(**{name: value for name, value in fields.items() if name in known})


def check(file: Path, found: Shapes, folder: Path, width: int) -> None:
    """Raise InputError where the file's weights do not fit the pipeline's configs, and features of `width`."""
    same_weights(file, found, {name: tuple(t.shape) for name, t in empty(folder, width, found).state_dict().items()})


def load(file: Path, tensors: Mapping[str, Tensor], folder: Path, width: int) -> Painter:
    """The module with these weights. Raises InputError where they are not whole."""
    painter = empty(folder, width, {name: tuple(t.shape) for name, t in tensors.items()})
    fill(painter, tensors, file)
    return painter


def empty(folder: Path, width: int, held: Shapes | None = None) -> Painter:
    """Without memory for its weights, whose shapes are `held` if they are there. Raises InputError where a config is
    missing, will not do, or is that of a larger one."""
    with on_meta(folder / CONFIGS[0], held):
        return Painter(folder, width)
