"""Golden vectors of SEED's picture tokenizer: codes of pictures and embeddings of codes, by plain arithmetic.

    python -m tests.lmm.seed_llama.golden.make

Written from the description of the published architecture and nothing else: no network of a library is used, and
nothing of the adapter. Weights are random, drawn anew from their names, so that the file holds results alone.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

FILE = Path(__file__).parent / "quantizer.safetensors"
PATCH, GRID, VIT, VIT_HIDDEN, VIT_LAYERS, VIT_HEADS = 14, 2, 176, 96, 2, 2
QUERIES, WIDTH, HIDDEN, LAYERS, HEADS = 32, 128, 96, 3, 2  # layers 0 and 2 of the Q-Former see the picture
CODES, CODE, BLOCKS, BLOCK_HIDDEN, DOWN, EMBEDDING = 64, 8, 2, 96, (48, 24, 4), 40
PICTURES = 4
Weights = dict[str, Tensor]


def uniform(name: str, shape: tuple[int, ...], low: float, high: float) -> Tensor:
    """float32 numbers that depend on the name alone."""
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
    numbers = np.random.Generator(np.random.Philox(key=key)).random(shape)
    return torch.from_numpy((low + (high - low) * numbers).astype(np.float32))


def weights() -> Weights:
    """A random seed_quantizer.pt under its published names."""
    out: Weights = {}

    def put(name: str, *shape: int, size: float = 0.5, around: float = 0.0) -> None:
        out[name] = uniform(name, shape, around - size, around + size)

    def linear(name: str, inputs: int, outputs: int, *, bias: bool = True, gain: float = 2.0) -> None:
        put(f"{name}.weight", outputs, inputs, size=gain / math.sqrt(inputs))
        if bias:
            put(f"{name}.bias", outputs, size=0.2)

    def norm(name: str, width: int) -> None:
        put(f"{name}.weight", width, size=0.3, around=1.0)
        put(f"{name}.bias", width, size=0.2)

    def vit_block(name: str, width: int, hidden: int, *, eva: bool) -> None:
        norm(f"{name}.norm1", width), norm(f"{name}.norm2", width)
        linear(f"{name}.attn.qkv", width, 3 * width, bias=not eva)
        if eva:
            put(f"{name}.attn.q_bias", width), put(f"{name}.attn.v_bias", width)
        linear(f"{name}.attn.proj", width, width)
        linear(f"{name}.mlp.fc1", width, hidden), linear(f"{name}.mlp.fc2", hidden, width)

    put("visual_encoder.cls_token", 1, 1, VIT)
    put("visual_encoder.pos_embed", 1, GRID * GRID + 1, VIT)
    put("visual_encoder.patch_embed.proj.weight", VIT, 3, PATCH, PATCH, size=0.1)
    put("visual_encoder.patch_embed.proj.bias", VIT)
    for i in range(VIT_LAYERS):
        vit_block(f"visual_encoder.blocks.{i}", VIT, VIT_HIDDEN, eva=True)
    norm("ln_vision", VIT)
    put("query_tokens", 1, QUERIES, WIDTH, size=1.0)
    norm("Qformer.bert.embeddings.LayerNorm", WIDTH)
    for i in range(LAYERS):
        layer = f"Qformer.bert.encoder.layer.{i}"
        for kind, seen in (("attention", WIDTH), ("crossattention", VIT))[: 2 - i % 2]:
            for part, inputs in (("query", WIDTH), ("key", seen), ("value", seen)):
                linear(f"{layer}.{kind}.self.{part}", inputs, WIDTH)
            linear(f"{layer}.{kind}.output.dense", WIDTH, WIDTH, gain=1.0)  # or all queries would be one
            norm(f"{layer}.{kind}.output.LayerNorm", WIDTH)
        linear(f"{layer}.intermediate_query.dense", WIDTH, HIDDEN)
        linear(f"{layer}.output_query.dense", HIDDEN, WIDTH)
        norm(f"{layer}.output_query.LayerNorm", WIDTH)
    put("quantize.embedding.weight", CODES, CODE, size=2.0)
    linear("encode_task_layer.0", WIDTH, WIDTH), linear("encode_task_layer.2", WIDTH, CODE, gain=6.0)
    linear("decode_task_layer.0", CODE, CODE), linear("decode_task_layer.2", CODE, WIDTH)
    put("pos_embed_image", 1, QUERIES, WIDTH)
    for i in range(BLOCKS):
        vit_block(f"blocks_image.{i}", WIDTH, BLOCK_HIDDEN, eva=False)
    for i, (inputs, outputs) in enumerate(zip((WIDTH, *DOWN), DOWN, strict=False)):
        linear(f"image_down.{2 * i}", inputs, outputs, bias=False)
    linear("distill_image_proj", QUERIES * DOWN[2], EMBEDDING)
    return out


def pixels() -> Tensor:
    """Normalised pictures float32 `[PICTURES, 3, side, side]`."""
    return uniform("pixels 6", (PICTURES, 3, GRID * PATCH, GRID * PATCH), -2.0, 2.0)


def linear(w: Weights, name: str, x: Tensor) -> Tensor:
    y = x @ w[f"{name}.weight"].T
    return y + w[f"{name}.bias"] if f"{name}.bias" in w else y


def norm(w: Weights, name: str, x: Tensor, eps: float) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scale = (centred.square().mean(-1, keepdim=True) + eps).sqrt()
    return centred / scale * w[f"{name}.weight"] + w[f"{name}.bias"]


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, *, causal: bool = False) -> Tensor:
    """One picture: `[places, width]` each, head by head."""
    outputs = []
    for one_q, one_k, one_v in zip(q.chunk(heads, 1), k.chunk(heads, 1), v.chunk(heads, 1), strict=True):
        scores = one_q @ one_k.T / math.sqrt(one_q.shape[1])
        if causal:
            scores = scores.masked_fill(~torch.ones_like(scores, dtype=torch.bool).tril(), float("-inf"))
        outputs.append(scores.softmax(1) @ one_v)
    return torch.cat(outputs, 1)


def vit_block(w: Weights, name: str, x: Tensor, heads: int) -> Tensor:
    qkv = linear(w, f"{name}.attn.qkv", norm(w, f"{name}.norm1", x, 1e-6))
    q, k, v = qkv.chunk(3, 1)
    if f"{name}.attn.q_bias" in w:
        q, v = q + w[f"{name}.attn.q_bias"], v + w[f"{name}.attn.v_bias"]
    x = x + linear(w, f"{name}.attn.proj", attend(q, k, v, heads))
    return x + linear(w, f"{name}.mlp.fc2", gelu(linear(w, f"{name}.mlp.fc1", norm(w, f"{name}.norm2", x, 1e-6))))


def see(w: Weights, picture_CHW: Tensor) -> Tensor:
    """The vision encoder's states `[places, width]`, behind the last norm."""
    patches = [
        picture_CHW[:, y : y + PATCH, x : x + PATCH].flatten()
        for y in range(0, GRID * PATCH, PATCH)
        for x in range(0, GRID * PATCH, PATCH)
    ]
    kernel = w["visual_encoder.patch_embed.proj.weight"].flatten(1)
    x = torch.stack(patches) @ kernel.T + w["visual_encoder.patch_embed.proj.bias"]
    x = torch.cat([w["visual_encoder.cls_token"][0], x]) + w["visual_encoder.pos_embed"][0]
    for i in range(VIT_LAYERS):
        x = vit_block(w, f"visual_encoder.blocks.{i}", x, VIT_HEADS)
    return norm(w, "ln_vision", x, 1e-5)


def query(w: Weights, seen: Tensor) -> Tensor:
    """The Q-Former's states `[QUERIES, WIDTH]`: no query sees a later one."""
    x = norm(w, "Qformer.bert.embeddings.LayerNorm", w["query_tokens"][0], 1e-12)
    for i in range(LAYERS):
        layer = f"Qformer.bert.encoder.layer.{i}"
        for kind in ("attention", "crossattention")[: 2 - i % 2]:
            source = x if kind == "attention" else seen
            q = linear(w, f"{layer}.{kind}.self.query", x)
            k, v = (linear(w, f"{layer}.{kind}.self.{part}", source) for part in ("key", "value"))
            mixed = linear(w, f"{layer}.{kind}.output.dense", attend(q, k, v, HEADS, causal=kind == "attention"))
            x = norm(w, f"{layer}.{kind}.output.LayerNorm", mixed + x, 1e-12)
        hidden = gelu(linear(w, f"{layer}.intermediate_query.dense", x))
        x = norm(w, f"{layer}.output_query.LayerNorm", linear(w, f"{layer}.output_query.dense", hidden) + x, 1e-12)
    return x


def encode(w: Weights, picture_CHW: Tensor) -> tuple[Tensor, float]:
    """Codes `[QUERIES]`, and how much further the second nearest is than the nearest, at the least."""
    x = linear(w, "encode_task_layer.2", torch.tanh(linear(w, "encode_task_layer.0", query(w, see(w, picture_CHW)))))
    distances = (x[:, None] - w["quantize.embedding.weight"]).square().sum(-1)
    nearest = distances.sort(1).values
    return distances.argmin(1), float((nearest[:, 1] - nearest[:, 0]).min())


def embed(w: Weights, codes_L: Tensor) -> Tensor:
    """A CLIP embedding `[EMBEDDING]` of a picture's codes."""
    x = w["quantize.embedding.weight"][codes_L]
    x = linear(w, "decode_task_layer.2", torch.tanh(linear(w, "decode_task_layer.0", x))) + w["pos_embed_image"][0]
    for i in range(BLOCKS):
        x = vit_block(w, f"blocks_image.{i}", x, HEADS)
    x = linear(w, "image_down.2", linear(w, "image_down.0", x).relu()).relu()
    return linear(w, "distill_image_proj", linear(w, "image_down.4", x).flatten())


def golden(dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Codes int64 `[PICTURES, QUERIES]`, embeddings float32 `[PICTURES, EMBEDDING]`, and the least margin of a code;
    computed in float64, so that only the adapter's rounding is in what differs."""
    w = {name: tensor.to(dtype) for name, tensor in weights().items()}
    encoded = [encode(w, picture) for picture in pixels().to(dtype)]
    codes = torch.stack([row for row, _ in encoded])
    embeddings = torch.stack([embed(w, row) for row in codes]).float()
    return {"codes": codes, "embeddings": embeddings, "margin": torch.tensor(min(m for _, m in encoded))}


if __name__ == "__main__":
    save_file(golden(), str(FILE))
