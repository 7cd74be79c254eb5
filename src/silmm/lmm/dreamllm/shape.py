"""What DreamLLM takes: its sizes, from config.json, the decoder's configs, and the plug-ins' shapes, or the published
ones where those are not there yet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from silmm.errors import InputError
from silmm.lmm.dreamllm import config as configs
from silmm.lmm.hf import folder
from silmm.lmm.hf.checkpoint import Option
from silmm.lmm.hf.parts import Group, Holding, Sizes, holding
from silmm.lmm.hf.shape import Shape, decoder_of, unet_peak, vae_peak
from silmm.settings import Adopt

HUB = {  # where the weights are
    "model": "RunpeiDong/dreamllm-7b-chat-v1.0",
    "diffusion": "the three configs of Stable Diffusion 2.1 base (docs/dreamllm.md)",
}
ENOUGH = {"diffusion": ""}  # to plan with, of a folder whose config.json alone is not: all three
QUERIES = 64  # published
PATCHES, CLIP = 256, (1024, 4096)  # published: CLIP ViT-L/14 at 224 pixels, its width and its MLP's
HALF = 2  # bytes of a feature on the disk
GROUPS = (
    Group("plug-ins", ("clip_vision_embedding.bin/", "dream_embedding.bin/", "stable_diffusion_head.bin/")),
    Group("language model"),
)
DECODER = (
    Group("VAE", ("vae.",), "float32", frozenset({"images"})),
    Group("U-Net", ("unet.",), stages=frozenset({"images"})),
)


def holds(role: str, path: Path, dtype: str) -> Holding:
    """What the folder of a role holds. The decoder's weights are in the model's folder, and as many as its configs say:
    others are refused at load."""
    if role == "diffusion":
        return holding(lambda: _read_configs(path), dict, DECODER, dtype)
    return holding(lambda: _read(path), lambda: _guess(path), GROUPS, dtype)


def dtype_of(role: str, adopt: Adopt) -> str:
    """As which the weights of a role's folder are loaded, but for what is always in float32."""
    return adopt.painting or adopt.dtype if role == "diffusion" else adopt.dtype


def shape(weights: Mapping[str, Path], options: Mapping[str, Option], dtype: str, rows: int) -> Shape:
    """The `Shape`. Raises InputError where a config is missing or not of such a model."""
    from silmm.lmm.dreamllm import painter

    config = configs.llama(weights["model"])
    unet, vae = (painter.read_config(weights["diffusion"] / name) for name in painter.CONFIGS[:2])
    levels = vae["block_out_channels"]
    first, second = (levels * 2)[:2]
    side = unet["sample_size"] * 2 ** (len(levels) - 1)
    pictures = max(1, rows // 2 if float(options["guidance"]) > 1 else rows)
    places = unet["sample_size"] ** 2
    decoder = decoder_of(config, dtype)
    queries, width = _queries(weights["model"]), config.hidden_size
    feature = width if options["features"] == "hidden" else unet["cross_attention_dim"]
    return Shape(
        speaker=decoder,
        words=config.vocab_size,
        painter=decoder,
        codes=0,
        places=queries,
        kept=queries * feature * HALF,
        learned=queries * feature * 4 * 4,  # a policy's and a reference's features, and both sides', in float32
        seen=PATCHES,
        looked_at=rows,
        see=rows * (PATCHES + 1) * (4 * CLIP[0] + 2 * CLIP[1]) * 4,
        render=max(
            vae_peak(first, second, pictures * side * side),
            unet_peak(unet["block_out_channels"][0], rows * places, str(options["painting"]) or dtype),
        ),
    )


def _queries(model: Path) -> int:
    from silmm.lmm.dreamllm.weights import QUERIES as FILE
    from silmm.lmm.dreamllm.weights import QUERIES_KEY
    from silmm.lmm.hf.pickled import read_state

    try:
        return int(read_state(model / FILE, meta=True)[QUERIES_KEY].shape[1])
    except (InputError, KeyError):
        return QUERIES


def _read(path: Path) -> tuple[Sizes, list[Path]]:
    from silmm.lmm.dreamllm.weights import PLUGINS
    from silmm.lmm.hf.pickled import read_state, shapes_of

    found = folder.check(path, family="dreamllm", model_type="dreamllm")
    sizes = {name: shape for name, (_, shape) in found.tensors.items() if "rotary_emb" not in name}
    for plugin in PLUGINS:
        held = shapes_of(read_state(path / plugin, meta=True))
        sizes |= {f"{plugin}/{name}": shape for name, shape in held.items() if not name.startswith(("unet.", "vae."))}
    return sizes, [*found.files, *(path / plugin for plugin in PLUGINS)]


def _guess(path: Path) -> Sizes:
    """The language model's by config.json, the plug-ins' as they are published."""
    import torch
    from transformers import CLIPVisionConfig

    from silmm.lmm.dreamllm import vision
    from silmm.lmm.dreamllm.weights import skeleton
    from silmm.lmm.hf.pickled import shapes_of

    model = skeleton(path)
    width = model.config.hidden_size
    with torch.device("meta"):
        clip = CLIPVisionConfig(
            hidden_size=CLIP[0], intermediate_size=CLIP[1], num_hidden_layers=24, num_attention_heads=16, patch_size=14
        )
        seeing = shapes_of(vision.Vision(clip, width, -2).state_dict())
    plugins = {f"{vision.FILE}/{name}": shape for name, shape in seeing.items()}
    return shapes_of(model.state_dict()) | plugins | {"dream_embedding.bin/dream_queries": (1, QUERIES, width)}


def _read_configs(path: Path) -> tuple[Sizes, list[Path]]:
    from silmm.lmm.dreamllm import painter
    from silmm.lmm.hf.pickled import shapes_of

    sizes = shapes_of(painter.empty(path, 1).state_dict())
    return {name: shape for name, shape in sizes.items() if not name.startswith("projector.")}, [
        path / name for name in painter.CONFIGS
    ]
