"""SEED's picture tokenizer: a picture to codes, and codes to the embedding that the diffusion decoder draws from.

    picture -> EVA ViT -> causal Q-Former -> nearest of the codebook        (SEED-2, arXiv 2310.01218)
    codes -> codebook -> transformer blocks -> one CLIP embedding

Networks are transformers' and torch's own (BLIP-2's vision encoder is EVA's); what is here is how they are joined.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor, nn

from silmm.lmm.seed_llama import quantizer_file
from silmm.lmm.seed_llama.quantizer_file import EVA_HEAD, HEAD, VISION, Sizes

BLOCK_EPS, VISION_EPS, BERT_EPS = 1e-6, 1e-5, 1e-12  # of layer norms: blocks', the one behind the ViT, BERT's
VISION_NAMES = (  # published name: transformers' name, in turn
    (r"^cls_token", "embeddings.class_embedding"), (r"^pos_embed", "embeddings.position_embedding"),
    (r"^patch_embed\.proj", "embeddings.patch_embedding"), (r"^blocks", "encoder.layers"),
    (r"\.attn\.proj", ".self_attn.projection"), (r"\.attn\.", ".self_attn."), (r"\.norm(\d)\.", r".layer_norm\1."),
)  # fmt: skip
QFORMER_NAMES = (
    (r"^embeddings\.LayerNorm", "layernorm"), (r"\.attention\.self", ".attention.attention"),
    (r"\.crossattention\.self", ".crossattention.attention"),
)  # fmt: skip
BLOCK_NAMES = (
    (r"\.attn\.qkv\.", ".self_attn.in_proj_"), (r"\.attn\.proj", ".self_attn.out_proj"), (r"\.mlp\.fc", ".linear"),
)  # fmt: skip


class Quantizer(nn.Module):
    """In float32 and in eval mode for good: codes are nearest neighbours, which rounding and dropout change."""

    def __init__(self, sizes: Sizes) -> None:
        from transformers import Blip2QFormerConfig, Blip2QFormerModel, Blip2VisionConfig, Blip2VisionModel

        super().__init__()
        s, self.sizes = sizes, sizes
        self.vision = Blip2VisionModel(
            Blip2VisionConfig(
                hidden_size=s.vision_width, intermediate_size=s.vision_hidden, num_hidden_layers=s.vision_layers,
                num_attention_heads=s.vision_width // EVA_HEAD, image_size=s.side, patch_size=s.patch,
                layer_norm_eps=BLOCK_EPS,
            )
        )  # fmt: skip
        self.vision.post_layernorm.eps = VISION_EPS
        self.qformer = Blip2QFormerModel(
            Blip2QFormerConfig(
                hidden_size=s.width, intermediate_size=s.hidden, num_hidden_layers=s.layers, layer_norm_eps=BERT_EPS,
                num_attention_heads=s.width // HEAD, cross_attention_frequency=s.every,
                encoder_hidden_size=s.vision_width,
            )
        )  # fmt: skip
        self.query_tokens = nn.Parameter(torch.zeros(1, s.queries, s.width))
        self.encode_task_layer = nn.Sequential(nn.Linear(s.width, s.width), nn.Tanh(), nn.Linear(s.width, s.code_width))
        self.codebook = nn.Embedding(s.codes, s.code_width)
        self.decode_task_layer = nn.Sequential(
            nn.Linear(s.code_width, s.code_width), nn.Tanh(), nn.Linear(s.code_width, s.width)
        )
        self.pos_embed_image = nn.Parameter(torch.zeros(1, s.queries, s.width))
        self.blocks_image = nn.Sequential(*(_block(s) for _ in range(s.blocks)))
        one, two, three = (
            nn.Linear(wide, narrow, bias=False) for wide, narrow in zip((s.width, *s.narrow[:2]), s.narrow, strict=True)
        )
        self.image_down = nn.Sequential(one, nn.ReLU(), two, nn.ReLU(), three)
        self.distill_image_proj = nn.Linear(s.queries * s.narrow[2], s.embedding)

    @torch.no_grad()
    def encode(self, pixels_BCHW: Tensor) -> Tensor:
        """Codes int64 `[B, L]` of pictures as CLIP normalises them, float32 `[B, 3, side, side]`."""
        places, queries_BLD = self.sizes.queries, self.query_tokens.expand(len(pixels_BCHW), -1, -1)
        # Added to the scores: transformers takes a mask of truth values for something else in one of its attentions.
        later_LL = torch.full((places, places), torch.finfo(torch.float32).min, device=pixels_BCHW.device).triu(1)
        hidden_BLD = self.qformer(
            query_embeds=queries_BLD, attention_mask=later_LL.expand(len(pixels_BCHW), 1, -1, -1),
            encoder_hidden_states=self.vision(pixels_BCHW).last_hidden_state,
        ).last_hidden_state  # fmt: skip
        points_BLC, codebook_KC = self.encode_task_layer(hidden_BLD), self.codebook.weight
        squares_BLK = points_BLC.square().sum(-1, keepdim=True) + codebook_KC.square().sum(-1)
        return (squares_BLK - 2 * points_BLC @ codebook_KC.T).argmin(-1)

    @torch.no_grad()
    def embed(self, codes_BL: Tensor) -> Tensor:
        """Embeddings float32 `[B, E]` of pictures from their codes."""
        hidden_BLD = self.decode_task_layer(self.codebook(codes_BL)) + self.pos_embed_image
        return self.distill_image_proj(self.image_down(self.blocks_image(hidden_BLD)).flatten(1))


def load(folder: Path) -> Quantizer:
    """The tokenizer of a folder, on the CPU. Raises InputError as `quantizer_file.read`."""
    found = quantizer_file.read(folder)
    with torch.device("meta"):
        made = Quantizer(found.sizes)
    made.load_state_dict({name: t.float() for name, t in rename(found.tensors).items()}, strict=True, assign=True)
    return made.requires_grad_(False).eval()


def rename(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """From the published names to those of the modules above; EVA's two biases become one, without one for keys."""
    out = {}
    for name, tensor in tensors.items():
        if name.endswith(".attn.q_bias"):
            values = tensors[name.replace("q_bias", "v_bias")]
            name, tensor = name.replace("q_bias", "qkv.bias"), torch.cat([tensor, torch.zeros_like(tensor), values])
        if not name.endswith(".attn.v_bias"):
            out[_name(name)] = tensor
    return out


def _name(name: str) -> str:
    for prefix, own, pairs in (
        (VISION, "vision.", VISION_NAMES), ("ln_vision.", "vision.post_layernorm.", ()),
        ("Qformer.bert.", "qformer.", QFORMER_NAMES), ("quantize.embedding.", "codebook.", ()),
        ("blocks_image.", "blocks_image.", BLOCK_NAMES),
    ):  # fmt: skip
        if name.startswith(prefix):
            name = name.removeprefix(prefix)
            for published, transformers in pairs:
                name = re.sub(published, transformers, name)
            return own + name
    return name


def _block(s: Sizes) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(
        s.width, s.width // HEAD, s.block_hidden, dropout=0.0, activation="gelu", layer_norm_eps=BLOCK_EPS,
        batch_first=True, norm_first=True,
    )  # fmt: skip
