"""The visual tokenizer: one code for each 5 x 5 patch, a linear encoder and a small residual decoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from silmm.shapeworld.scene import GRID, PATCH, SIDE

PIXELS = PATCH * PATCH * 3


def to_patches(images_NHWC: Tensor) -> Tensor:
    """Patches float32 `[n, 36, 75]` in [-1, 1] of pictures uint8 `[n, 30, 30, 3]`."""
    x = images_NHWC.float().div(127.5).sub(1).reshape(-1, GRID, PATCH, GRID, PATCH, 3)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, GRID * GRID, PIXELS)


def to_images(patches_NLP: Tensor) -> Tensor:
    """Pictures uint8 `[n, 30, 30, 3]` of patches `[n, 36, 75]`."""
    x = patches_NLP.reshape(-1, GRID, GRID, PATCH, PATCH, 3).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(-1, SIDE, SIDE, 3).add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)


class VQTokenizer(nn.Module):
    """Encoder, codebook and decoder over single patches (VQ-VAE with codes by moving averages)."""

    codebook: Tensor  # [codes, dim]

    def __init__(self, codes: int, dim: int = 32, hidden: int = 96) -> None:
        super().__init__()
        self.encoder = nn.Linear(PIXELS, dim)
        self.first = nn.Linear(dim, hidden)
        self.block = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, hidden))
        self.last = nn.Linear(hidden, PIXELS)
        self.register_buffer("codebook", torch.zeros(codes, dim))
        nn.init.orthogonal_(self.encoder.weight)

    def decode_latents(self, z: Tensor) -> Tensor:
        """Patches `[..., 75]` of latents `[..., 32]`."""
        h = self.first(z)
        return self.last(h + self.block(h))

    def nearest(self, z_MD: Tensor) -> Tensor:
        """Code of each latent."""
        return torch.cdist(z_MD, self.codebook).argmin(1)

    @torch.no_grad()
    def encode(self, images_NHWC: Tensor) -> Tensor:
        """Codes int64 `[n, 36]` of pictures uint8 `[n, 30, 30, 3]`."""
        z = self.encoder(to_patches(images_NHWC))
        return self.nearest(z.flatten(0, 1)).view(z.shape[:2])

    @torch.no_grad()
    def decode(self, codes_NL: Tensor) -> Tensor:
        """Pictures uint8 `[n, 30, 30, 3]` of codes `[n, 36]`."""
        return to_images(self.decode_latents(self.codebook[codes_NL]))


def _farthest_points(z_MD: Tensor, n: int) -> Tensor:
    """n rows, each the farthest from those before: no code is wasted at the start."""
    chosen = [0]
    gap = (z_MD - z_MD[0]).square().sum(1)
    for _ in range(n - 1):
        chosen.append(int(gap.argmax()))
        gap = torch.minimum(gap, (z_MD - z_MD[chosen[-1]]).square().sum(1))
    return z_MD[chosen].clone()


def train(images_NHWC: Tensor, *, codes: int, steps: int, seed: int, batch: int = 4096) -> tuple[VQTokenizer, float]:
    """Train on pictures: half of the steps without codes, then with; returns the tokenizer and the last error (MSE)."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    vq = VQTokenizer(codes)
    patches = to_patches(images_NHWC).flatten(0, 1)
    # Plain background fills most of a picture: one copy of each distinct patch weighs all patterns alike.
    patches = torch.unique(patches, dim=0)
    optimizer = torch.optim.AdamW(vq.parameters(), lr=3e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps)
    size, total = torch.zeros(codes), torch.zeros_like(vq.codebook)
    loss = torch.zeros(())
    for step in range(steps):
        x = patches[torch.randint(len(patches), (min(batch, 4 * len(patches)),), generator=generator)]
        z = vq.encoder(x)
        if step == steps // 2:
            vq.codebook.copy_(_farthest_points(vq.encoder(patches).detach(), codes))
            size, total = torch.ones(codes), vq.codebook.clone()
        if step >= steps // 2:
            code = vq.nearest(z.detach())
            one_hot = F.one_hot(code, codes).float()
            size = 0.95 * size + 0.05 * one_hot.sum(0)
            total = 0.95 * total + 0.05 * one_hot.T @ z.detach()
            used = size > 1e-3
            vq.codebook[used] = total[used] / size[used, None]
            quantised = vq.codebook[code]
            commit = F.mse_loss(z, quantised)
            z = z + (quantised - z).detach()
        else:
            commit = torch.zeros(())
        loss = F.mse_loss(vq.decode_latents(z), x)
        optimizer.zero_grad()
        (loss + 0.25 * commit).backward()
        optimizer.step()
        schedule.step()
    return vq, float(loss.detach())
