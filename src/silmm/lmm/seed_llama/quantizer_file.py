"""The weights of SEED's picture tokenizer under their published names; whole, or refused by name.

seed_quantizer.pt as published has no vision encoder: its authors take that from LAVIS's eva_vit_g.pth. Their loader
does not look whether the files fit, and prints two counts. What no picture needs (branches for text, what only training
used, EVA's last block and head) may be there, and is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from silmm.errors import InputError
from silmm.lmm.hf import pickled

if TYPE_CHECKING:
    from torch import Tensor

FILE, EVA_FILE = "seed_quantizer.pt", "eva_vit_g.pth"
EVA_URL = "https://storage.googleapis.com/sfr-vision-language-research/LAVIS/models/BLIP2/eva_vit_g.pth"
VISION = "visual_encoder."
EVA_HEAD, HEAD = 88, 64  # widths of attention heads, which no weight tells: EVA's ViT-g, and BERT's and the blocks'
EVA_BLOCKS = 39  # of the 40 in EVA's own file: BLIP-2, which SEED starts from, leaves out the last
ADVICE = "expected the file of AILab-CVC/seed-tokenizer-2, all of it"
EVA_ADVICE = f"expected LAVIS's file, all of it: {EVA_URL}"
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


class Found(NamedTuple):
    """What a folder has."""

    sizes: Sizes
    tensors: dict[str, Tensor]  # what the network is made of, by the names in seed_quantizer.pt; mapped from the disk
    files: list[Path]  # that hold them
    unused: dict[Path, list[str]]  # names in each that nothing reads


def read(folder: Path) -> Found:
    """Sizes and weights.

    Raises InputError where a file is missing or cut off, or a weight that is needed is missing or misshapen.
    """
    file, eva = folder / FILE, folder / EVA_FILE
    stored = {file: pickled.read_state(file)}
    if not any(name.startswith(VISION) for name in stored[file]):
        if not eva.is_file() and not any(folder.rglob("*.incomplete")):
            raise InputError(
                f"{eva}: no such file, and {FILE} has no vision encoder (the published one has none): download"
                f" {EVA_URL} into {folder}"
            )
        stored[eva] = {VISION + name: tensor for name, tensor in pickled.read_state(eva).items()}
    seeing = list(stored)[-1]  # the file that has the vision encoder
    sizes = _sizes({name: tensor for state in stored.values() for name, tensor in state.items()}, file, seeing)
    _check_sizes(sizes, file, seeing)
    wanted = shapes(sizes)
    tensors: dict[str, Tensor] = {}
    unused: dict[Path, list[str]] = {}
    for where, state in stored.items():
        prefix = VISION if where == eva else ""  # which EVA's own file has not in its names
        needed = {n: s for n, s in wanted.items() if len(stored) == 1 or n.startswith(VISION) == (where == eva)}
        held = {name: state[name] for name in needed if name in state}
        pickled.same_weights(where, _short(pickled.shapes_of(held), prefix), _short(needed, prefix))
        tensors |= held
        unused[where] = [name.removeprefix(prefix) for name in state if name not in needed]
    return Found(sizes, tensors, list(stored), unused)


def _short(shapes: Shapes, prefix: str) -> Shapes:
    return {name.removeprefix(prefix): shape for name, shape in shapes.items()}


def _check_sizes(sizes: Sizes, file: Path, seeing: Path) -> None:
    """Raise InputError where a width is none that the published heads divide, or patches make no square."""
    for where, what, width, head, advice in (
        (seeing, "vision encoder", sizes.vision_width, EVA_HEAD, ADVICE if seeing == file else EVA_ADVICE),
        (file, "Q-Former", sizes.width, HEAD, ADVICE),
    ):
        if width % head:
            raise InputError(f"{where}: its {what} is {width} wide, not a multiple of a head's {head}: {advice}")
    if sizes.patch < 1 or sizes.places < 2 or sizes.places != (sizes.side // sizes.patch) ** 2 + 1:
        raise InputError(f"{seeing}: pos_embed is of {sizes.places} places, not of a square of patches and one more")


def told(unused: dict[Path, list[str]]) -> Iterator[str]:
    """A line for each file that has weights which nothing reads: how many, and a few names, of different kinds."""
    for file, names in unused.items():
        kinds: dict[str, str] = {}
        for name in names:
            kinds.setdefault(name.split(".")[0], name)
        if names:
            few = ", ".join(list(kinds.values())[:4])
            yield f"{file}: {len(names)} weights that nothing reads, as {few}: left alone"


def _sizes(found: dict[str, Tensor], file: Path, seeing: Path) -> Sizes:
    """`seeing`: the file that has the vision encoder."""
    eva = seeing != file

    def shape(name: str, axes: int) -> tuple[int, ...]:
        in_eva = eva and name.startswith(VISION)
        where = f"{seeing}: {name.removeprefix(VISION)}" if in_eva else f"{file}: {name}"
        advice = EVA_ADVICE if in_eva else ADVICE
        if name not in found:
            raise InputError(f"{where} is missing: {advice}")
        if found[name].ndim != axes:
            raise InputError(f"{where} is {list(found[name].shape)}, not of {axes} axes: {advice}")
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
        vision_layers=EVA_BLOCKS if eva else count(f"{VISION}blocks"),
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
