"""Golden vectors of DreamLLM, in plain torch from the published architecture: none of silmm's code, of transformers' or
of diffusers' computes here.

    python tests/lmm/dreamllm/golden/make.py FOLDER      FOLDER: as `python -m silmm.lmm.dreamllm.tiny` makes it

Weights are a formula of their names and shapes (`filled`), so that none need be kept: of FOLDER only names, shapes and
configs count. Written: `golden.safetensors`, with ids of two prompts, H of both, the decoder's noise, and the picture
of the first prompt, guided away from the second.
"""

from __future__ import annotations

import json
import math
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

STEPS, GUIDANCE = 3, 2.5
Weights = dict[str, Tensor]


def filled(shapes: dict[str, tuple[int, ...]]) -> Weights:
    """Normal numbers from a generator that is seeded by the name; norms are near 1, and matrices keep sizes as they
    are."""
    out = {}
    for name, shape in shapes.items():
        draw = np.random.Generator(np.random.Philox(key=zlib.crc32(name.encode()))).standard_normal(shape, np.float32)
        inputs = max(1, math.prod(shape[1:]))
        if name.endswith("bias"):
            draw *= 0.1
        elif len(shape) == 1:
            draw = 1 + 0.1 * draw
        elif "embed" not in name and name != "dream_queries":
            draw *= np.float32(1.5 / inputs**0.5)
        out[name] = torch.from_numpy(draw)
    return out


def shapes_in(folder: Path) -> dict[str, dict[str, tuple[int, ...]]]:
    """Names and shapes of all weights, by file; those of the language model together."""
    llm = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as opened:
            llm |= {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    out = {"llm": llm}
    for file in sorted(folder.glob("*.bin")):
        state = torch.load(file, map_location="meta", weights_only=True)
        out[file.name] = {name: tuple(tensor.shape) for name, tensor in state.items()}
    return out


# ---- the language model --------------------------------------------------------------------------------------------


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return weight * x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + eps)


def rotate(x: Tensor, base: float) -> Tensor:
    """Rotary positions of `[h, T, d]`: channel i turns with channel i + d / 2."""
    length, width = x.shape[1:]
    angle = torch.arange(length)[:, None] / base ** (torch.arange(0, width, 2) / width)
    first, second = x[..., : width // 2], x[..., width // 2 :]
    return torch.cat([first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()], -1)


def llama(w: Weights, config: dict[str, Any], x: Tensor) -> Tensor:
    """Last hidden states `[T, D]`, normed, of input embeddings `[T, D]`."""
    heads, eps, base = config["num_attention_heads"], config["rms_norm_eps"], 10000.0
    later = torch.full((len(x), len(x)), float("-inf")).triu(1)
    for i in range(config["num_hidden_layers"]):
        p = f"model.layers.{i}."
        read = rms_norm(x, w[p + "input_layernorm.weight"], eps)
        q, k, v = (
            (read @ w[f"{p}self_attn.{name}_proj.weight"].T).unflatten(1, (heads, -1)).transpose(0, 1) for name in "qkv"
        )
        q, k = rotate(q, base), rotate(k, base)
        seen = torch.softmax(q @ k.transpose(1, 2) / q.shape[-1] ** 0.5 + later, -1) @ v
        x = x + seen.transpose(0, 1).flatten(1) @ w[p + "self_attn.o_proj.weight"].T
        read = rms_norm(x, w[p + "post_attention_layernorm.weight"], eps)
        gate, up = (read @ w[f"{p}mlp.{name}_proj.weight"].T for name in ("gate", "up"))
        x = x + (gate * torch.sigmoid(gate) * up) @ w[p + "mlp.down_proj.weight"].T
    return rms_norm(x, w["model.norm.weight"], eps)


def dreams(w: Weights, config: dict[str, Any], queries_QD: Tensor, ids: list[int]) -> Tensor:
    """H `[Q, D]`: the queries stand behind the ids, the last of which opens a dream."""
    return llama(w, config, torch.cat([w["model.embed_tokens.weight"][ids], queries_QD]))[-len(queries_QD) :]


# ---- the decoder ---------------------------------------------------------------------------------------------------


def linear(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def conv(w: Weights, name: str, x: Tensor, stride: int = 1) -> Tensor:
    weight = w[f"{name}.weight"]
    return F.conv2d(x, weight, w[f"{name}.bias"], stride=stride, padding=weight.shape[-1] // 2)


def group_norm(w: Weights, name: str, x: Tensor, eps: float) -> Tensor:
    return F.group_norm(x, 32, w[f"{name}.weight"], w[f"{name}.bias"], eps)


def layer_norm(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], 1e-5)


def resnet(w: Weights, name: str, x: Tensor, time: Tensor | None, eps: float) -> Tensor:
    y = conv(w, f"{name}.conv1", F.silu(group_norm(w, f"{name}.norm1", x, eps)))
    if time is not None:
        y = y + linear(w, f"{name}.time_emb_proj", F.silu(time))[:, :, None, None]
    y = conv(w, f"{name}.conv2", F.silu(group_norm(w, f"{name}.norm2", y, eps)))
    shortcut = conv(w, f"{name}.conv_shortcut", x) if f"{name}.conv_shortcut.weight" in w else x
    return shortcut + y


def attention(w: Weights, name: str, x: Tensor, read: Tensor, heads: int) -> Tensor:
    """Of `[B, T, D]` over `[B, S, C]`."""
    q, k, v = (
        linear(w, f"{name}.to_{part}", given).unflatten(2, (heads, -1)).transpose(1, 2)
        for part, given in (("q", x), ("k", read), ("v", read))
    )
    seen = torch.softmax(q @ k.transpose(2, 3) / q.shape[-1] ** 0.5, -1) @ v
    return linear(w, f"{name}.to_out.0", seen.transpose(1, 2).flatten(2))


def transformer(w: Weights, name: str, x: Tensor, context: Tensor, heads: int) -> Tensor:
    height, width = x.shape[2:]
    y = group_norm(w, f"{name}.norm", x, 1e-6).flatten(2).transpose(1, 2)
    y = linear(w, f"{name}.proj_in", y)
    block = f"{name}.transformer_blocks.0"
    read = layer_norm(w, f"{block}.norm1", y)
    y = y + attention(w, f"{block}.attn1", read, read, heads)
    y = y + attention(w, f"{block}.attn2", layer_norm(w, f"{block}.norm2", y), context, heads)
    value, gate = linear(w, f"{block}.ff.net.0.proj", layer_norm(w, f"{block}.norm3", y)).chunk(2, -1)
    y = y + linear(w, f"{block}.ff.net.2", value * F.gelu(gate))
    return x + linear(w, f"{name}.proj_out", y).transpose(1, 2).unflatten(2, (height, width))


def upsample(w: Weights, name: str, x: Tensor) -> Tensor:
    return conv(w, f"{name}.conv", F.interpolate(x, scale_factor=2.0, mode="nearest"))


def unet(w: Weights, config: dict[str, Any], x: Tensor, time: int, context: Tensor) -> Tensor:
    """The noise in latents `[B, C, H, W]`."""
    widths, heads, eps = config["block_out_channels"], config["attention_head_dim"], 1e-5
    half = widths[0] // 2
    angle = time * torch.exp(-math.log(10000) * torch.arange(half) / half)
    emb = torch.cat([angle.cos(), angle.sin()])[None].expand(len(x), -1)
    emb = linear(w, "time_embedding.linear_2", F.silu(linear(w, "time_embedding.linear_1", emb)))
    x = conv(w, "conv_in", x)
    kept = [x]
    for i, kind in enumerate(config["down_block_types"]):
        for j in range(config["layers_per_block"]):
            x = resnet(w, f"down_blocks.{i}.resnets.{j}", x, emb, eps)
            if kind.startswith("CrossAttn"):
                x = transformer(w, f"down_blocks.{i}.attentions.{j}", x, context, heads[i])
            kept.append(x)
        if i < len(widths) - 1:
            x = conv(w, f"down_blocks.{i}.downsamplers.0.conv", x, stride=2)
            kept.append(x)
    x = resnet(w, "mid_block.resnets.0", x, emb, eps)
    x = transformer(w, "mid_block.attentions.0", x, context, heads[-1])
    x = resnet(w, "mid_block.resnets.1", x, emb, eps)
    for i, kind in enumerate(config["up_block_types"]):
        for j in range(config["layers_per_block"] + 1):
            x = resnet(w, f"up_blocks.{i}.resnets.{j}", torch.cat([x, kept.pop()], 1), emb, eps)
            if kind.startswith("CrossAttn"):
                x = transformer(w, f"up_blocks.{i}.attentions.{j}", x, context, heads[::-1][i])
        if i < len(widths) - 1:
            x = upsample(w, f"up_blocks.{i}.upsamplers.0", x)
    return conv(w, "conv_out", F.silu(group_norm(w, "conv_norm_out", x, eps)))


def decode(w: Weights, config: dict[str, Any], latents: Tensor) -> Tensor:
    """Pixels in [-1, 1], as far as the network keeps to that, of latents `[B, C, H, W]`."""
    eps = 1e-6
    x = conv(w, "decoder.conv_in", conv(w, "post_quant_conv", latents))
    x = resnet(w, "decoder.mid_block.resnets.0", x, None, eps)
    name = "decoder.mid_block.attentions.0"
    read = group_norm(w, f"{name}.group_norm", x, eps).flatten(2).transpose(1, 2)
    x = x + attention(w, name, read, read, 1).transpose(1, 2).unflatten(2, x.shape[2:])
    x = resnet(w, "decoder.mid_block.resnets.1", x, None, eps)
    blocks = len(config["block_out_channels"])
    for i in range(blocks):
        for j in range(config["layers_per_block"] + 1):
            x = resnet(w, f"decoder.up_blocks.{i}.resnets.{j}", x, None, eps)
        if i < blocks - 1:
            x = upsample(w, f"decoder.up_blocks.{i}.upsamplers.0", x)
    return conv(w, "decoder.conv_out", F.silu(group_norm(w, "decoder.conv_norm_out", x, eps)))


def sample(w: Weights, configs: dict[str, dict[str, Any]], context_2QC: Tensor, noise: Tensor) -> Tensor:
    """Ancestral sampling (DDPM, arXiv 2006.11239, with steps left out) of one picture; noise[0] is the start's, and the
    last step's is multiplied by zero."""
    scheduler, unet_w = configs["scheduler"], part(w, "unet.")
    ends = scheduler["beta_start"] ** 0.5, scheduler["beta_end"] ** 0.5
    kept = torch.cumprod(1 - torch.linspace(*ends, scheduler["num_train_timesteps"]) ** 2, 0)
    stride = scheduler["num_train_timesteps"] // STEPS
    x = noise[0][None]
    for number, place in enumerate(reversed(range(STEPS))):
        time = place * stride + scheduler["steps_offset"]
        given, free = unet(unet_w, configs["unet"], x.expand(2, -1, -1, -1), time, context_2QC).split(1)
        estimate = free + GUIDANCE * (given - free)
        now, before = kept[time], kept[time - stride] if time >= stride else torch.tensor(1.0)
        step = now / before
        clean = (x - (1 - now) ** 0.5 * estimate) / now**0.5
        x = before**0.5 * (1 - step) / (1 - now) * clean + step**0.5 * (1 - before) / (1 - now) * x
        x = x + ((1 - before) / (1 - now) * (1 - step)) ** 0.5 * noise[number + 1][None]
    pixels = decode(part(w, "vae."), configs["vae"], x / configs["vae"]["scaling_factor"])
    return (pixels / 2 + 0.5).clamp(0, 1)[0].permute(1, 2, 0)


def part(w: Weights, prefix: str) -> Weights:
    return {name.removeprefix(prefix): tensor for name, tensor in w.items() if name.startswith(prefix)}


def read_json(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))


@torch.no_grad()
def main(folder: Path) -> None:
    torch.set_num_threads(1)
    weights = {name: filled(shapes) for name, shapes in shapes_in(folder).items()}
    config = read_json(folder / "config.json")
    names = {"unet": "unet/config.json", "vae": "vae/config.json", "scheduler": "scheduler/scheduler_config.json"}
    configs = {name: read_json(folder / "sd" / file) for name, file in names.items()}
    opens = config["special_tokens2ids_dict"]["additional_special_tokens"]["<dream_start>"]
    prompts = {"prompt": [1, 300, 77, 505, 640, 12, opens], "free": [1, opens]}
    queries = weights["dream_embedding.bin"]["dream_queries"][0]
    hidden = {name: dreams(weights["llm"], config, queries, ids) for name, ids in prompts.items()}
    head = weights["stable_diffusion_head.bin"]
    context = torch.stack(list(hidden.values())) @ head["projector.projector.weight"].T
    size, generator = configs["unet"]["sample_size"], torch.Generator().manual_seed(0)
    noise = torch.randn(STEPS + 1, configs["unet"]["in_channels"], size, size, generator=generator)
    picture = sample(head, configs, context, noise)
    cut = (picture % 1 == 0).float().mean()
    print(f"H {hidden['prompt'].std():.3f}, picture {picture.std():.3f}, {cut:.3f} of it at its ends")
    out = {f"{name}_hidden": tensor.contiguous() for name, tensor in hidden.items()}
    out |= {f"{name}_ids": torch.tensor(ids) for name, ids in prompts.items()}
    out |= {"noise": noise, "picture": picture.contiguous()}
    save_file(out, str(Path(__file__).with_name("golden.safetensors")))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
