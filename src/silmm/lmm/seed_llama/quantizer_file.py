"""seed_quantizer.pt: the weights of SEED's picture tokenizer under their published names; whole, or refused by name.

The reference loads this file without looking whether it fits, and prints two counts.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from silmm.errors import InputError
from silmm.lmm.hf import pickled

if TYPE_CHECKING:
    from torch import Tensor

FILE, EVA_FILE = "seed_quantizer.pt", "eva_vit_g.pth"
VISION = "visual_encoder."
EVA_HEAD, HEAD = 88, 64  # widths of attention heads, which no weight tells: EVA's ViT-g, and BERT's and the blocks'
EVA_BLOCKS = 39  # BLIP-2, which SEED starts from, leaves out what follows in EVA's own file
ADVICE = "expected the file of AILab-CVC/seed-tokenizer-2, all of it"
UNUSED = re.compile(  # what the reference trains or carries along, and no picture needs
    r"(blocks\.\d+\..*|pos_embed"  # reconstruction of texts
    r"|Qformer\.bert\.embeddings\.(position_ids|(word|position)_embeddings\.weight)"
    r"|Qformer\.bert\.encoder\.layer\.\d+\.(intermediate|output)\..*|Qformer\.cls\..*)"  # BERT's own branch for text
)
Shapes = dict[str, tuple[int, ...]]


class Sizes(NamedTuple):
    """What the weights' shapes say about the network; widths of attention heads are the published architecture's."""

    patch: int  # pixels along a patch's side
    places: int  # patches, and one more
    vision_width: int
    vision_hidden: int
    vision_layers: int
    queries: int  # visual tokens of a picture
    width: int  # of the Q-Former and of the blocks behind the codebook
    hidden: int
    layers: int
    every: int  # each so many layers of the Q-Former see the picture
    codes: int
    code_width: int
    blocks: int
    block_hidden: int
    narrow: tuple[int, int, int]  # widths on the way down to the embedding
    embedding: int  # of a picture, for the diffusion decoder

    @property
    def side(self) -> int:
        """Pixels along the side of a picture that is read."""
        return self.patch * round((self.places - 1) ** 0.5)


def read(folder: Path) -> tuple[Sizes, dict[str, Tensor]]:
    """Sizes, and the weights by their published names, mapped from the disk.

    Raises InputError where the file is missing or cut off, or a weight is missing, unexpected or misshapen.
    """
    file = folder / FILE
    found = {name: t for name, t in pickled.read_state(file).items() if not UNUSED.fullmatch(name)}
    if not any(name.startswith(VISION) for name in found) and (folder / EVA_FILE).is_file():
        found |= _read_eva(folder / EVA_FILE)
    sizes = _sizes(found, file)
    for what, width, head in (("vision encoder", sizes.vision_width, EVA_HEAD), ("Q-Former", sizes.width, HEAD)):
        if width % head:
            raise InputError(f"{file}: its {what} is {width} wide, not a multiple of a head's {head}: {ADVICE}")
    pickled.same_weights(file, pickled.shapes_of(found), shapes(sizes))
    return sizes, found


def _read_eva(file: Path) -> dict[str, Tensor]:
    """The vision encoder from EVA's own file, where the tokenizer's has none."""
    kept = {}
    for name, tensor in pickled.read_state(file).items():
        block = re.match(r"blocks\.(\d+)\.", name)
        below = block is not None and int(block[1]) < EVA_BLOCKS
        if below or name in ("cls_token", "pos_embed") or name.startswith("patch_embed."):
            kept[VISION + name] = tensor
    return kept


def _sizes(found: dict[str, Tensor], file: Path) -> Sizes:
    def shape(name: str, axes: int) -> tuple[int, ...]:
        if name not in found:
            where = f" (and there is no {EVA_FILE} beside it)" if name.startswith(VISION) else ""
            raise InputError(f"{file}: {name} is missing{where}: {ADVICE}")
        if found[name].ndim != axes:
            raise InputError(f"{file}: {name} is {list(found[name].shape)}, not of {axes} axes: {ADVICE}")
        return tuple(found[name].shape)

    def count(prefix: str) -> int:
        at = [int(m[1]) for n in found if (m := re.match(re.escape(prefix) + r"\.(\d{1,9})\.", n))]
        return min(1 + max(at, default=-1), len(found))  # a name may say any number: shapes are made for so many

    layer = "Qformer.bert.encoder.layer"
    looking = sorted({int(n.split(".")[4]) for n in found if n.startswith(layer) and ".crossattention." in n})
    vision_width, _, patch, _ = shape(f"{VISION}patch_embed.proj.weight", 4)
    _, queries, width = shape("query_tokens", 3)
    narrow = [shape(f"image_down.{i}.weight", 2)[0] for i in (0, 2, 4)]
    return Sizes(
        patch=patch,
        places=shape(f"{VISION}pos_embed", 3)[1],
        vision_width=vision_width,
        vision_hidden=shape(f"{VISION}blocks.0.mlp.fc1.weight", 2)[0],
        vision_layers=count(f"{VISION}blocks"),
        queries=queries,
        width=width,
        hidden=shape(f"{layer}.0.intermediate_query.dense.weight", 2)[0],
        layers=count(layer),
        every=looking[1] if len(looking) > 1 else count(layer),
        codes=shape("quantize.embedding.weight", 2)[0],
        code_width=shape("quantize.embedding.weight", 2)[1],
        blocks=count("blocks_image"),
        block_hidden=shape("blocks_image.0.mlp.fc1.weight", 2)[0],
        narrow=(narrow[0], narrow[1], narrow[2]),
        embedding=shape("distill_image_proj.weight", 2)[0],
    )


def shapes(sizes: Sizes) -> Shapes:
    """Shapes of the weights of such a network by their published names."""
    s = sizes
    out: Shapes = {
        "query_tokens": (1, s.queries, s.width),
        "pos_embed_image": (1, s.queries, s.width),
        f"{VISION}cls_token": (1, 1, s.vision_width),
        f"{VISION}pos_embed": (1, s.places, s.vision_width),
        f"{VISION}patch_embed.proj.weight": (s.vision_width, 3, s.patch, s.patch),
        f"{VISION}patch_embed.proj.bias": (s.vision_width,),
        "quantize.embedding.weight": (s.codes, s.code_width),
    }
    for i in range(s.vision_layers):
        out |= _block(f"{VISION}blocks.{i}", s.vision_width, s.vision_hidden, split_bias=True)
    out |= _norm("ln_vision", s.vision_width) | _norm("Qformer.bert.embeddings.LayerNorm", s.width)
    for i in range(s.layers):
        out |= _bert_layer(f"Qformer.bert.encoder.layer.{i}", s, looks=i % s.every == 0)
    for i in range(s.blocks):
        out |= _block(f"blocks_image.{i}", s.width, s.block_hidden, split_bias=False)
    out |= _linear("encode_task_layer.0", s.width, s.width) | _linear("encode_task_layer.2", s.width, s.code_width)
    out |= _linear("decode_task_layer.0", s.code_width, s.code_width)
    out |= _linear("decode_task_layer.2", s.code_width, s.width)
    for i, (wide, narrow) in enumerate(zip((s.width, *s.narrow[:2]), s.narrow, strict=True)):
        out[f"image_down.{2 * i}.weight"] = (narrow, wide)
    return out | _linear("distill_image_proj", s.queries * s.narrow[2], s.embedding)


def _linear(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _block(name: str, width: int, hidden: int, *, split_bias: bool) -> Shapes:
    """A pre-norm block of a vision transformer; EVA's has no bias on keys."""
    out = _norm(f"{name}.norm1", width) | _norm(f"{name}.norm2", width) | _linear(f"{name}.attn.proj", width, width)
    out |= _linear(f"{name}.mlp.fc1", width, hidden) | _linear(f"{name}.mlp.fc2", hidden, width)
    out[f"{name}.attn.qkv.weight"] = (3 * width, width)
    if split_bias:
        return out | {f"{name}.attn.q_bias": (width,), f"{name}.attn.v_bias": (width,)}
    return out | {f"{name}.attn.qkv.bias": (3 * width,)}


def _bert_layer(name: str, s: Sizes, *, looks: bool) -> Shapes:
    """A layer of the Q-Former, without its branch for text."""
    out = _linear(f"{name}.intermediate_query.dense", s.width, s.hidden)
    out |= _linear(f"{name}.output_query.dense", s.hidden, s.width) | _norm(f"{name}.output_query.LayerNorm", s.width)
    for kind, seen in (("attention", s.width), ("crossattention", s.vision_width)):
        if kind == "attention" or looks:
            out |= _linear(f"{name}.{kind}.self.query", s.width, s.width)
            out |= _linear(f"{name}.{kind}.self.key", seen, s.width)
            out |= _linear(f"{name}.{kind}.self.value", seen, s.width)
            out |= _linear(f"{name}.{kind}.output.dense", s.width, s.width)
            out |= _norm(f"{name}.{kind}.output.LayerNorm", s.width)
    return out
