"""What SEED-LLaMA takes: its sizes, from config.json of the language model and of the diffusion decoder's parts, and
from the shapes in seed_quantizer.pt, or the published ones where it is not there yet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from silmm.errors import InputError
from silmm.lmm.hf import folder, pickled, pipeline
from silmm.lmm.hf.checkpoint import Option
from silmm.lmm.hf.parts import Group, Holding, holding
from silmm.lmm.hf.parts import Sizes as Shapes
from silmm.lmm.hf.shape import Shape, decoder_of, vae_peak
from silmm.lmm.seed_llama import quantizer_file

HUB = {  # where the weights are
    "llm": "AILab-CVC/seed-llama-8b-sft",
    "visual": f"AILab-CVC/seed-tokenizer-2, and beside its files {quantizer_file.EVA_URL}",
    "diffusion": "the unCLIP pipeline of Stable Diffusion 2.1 (docs/seed_llama.md)",
}
PUBLISHED = quantizer_file.Sizes(
    patch=14, places=257, vision_width=1408, vision_hidden=6144, vision_layers=39, queries=32, width=768, hidden=3072,
    layers=12, every=2, codes=8192, code_width=32, blocks=4, block_hidden=3072, narrow=(256, 128, 32), embedding=1024,
)  # fmt: skip
ENOUGH = {  # to plan with, of a folder whose config.json alone is not
    "diffusion": "its model_index.json and the config.json of vae, unet, text_encoder and image_normalizer are"
}
FLOAT = 4
# The language model is loaded in all stages, what reads and paints pictures where it is needed.
LLM = Group("language model")
QUANTIZER = Group("picture tokenizer", dtype="float32", stages=frozenset({"images", "score"}))
DECODER = (
    Group("VAE", ("vae/",), "float32", frozenset({"images"})),
    Group("rest of the diffusion decoder", stages=frozenset({"images"})),
)


def holds(role: str, path: Path, dtype: str) -> Holding:
    """What the folder of a role holds."""
    if role == "llm":
        return holding(lambda: _read_llm(path), lambda: _guess_llm(path), (LLM,), dtype)
    if role == "visual":
        read, guess = lambda: _read_visual(path), lambda: quantizer_file.shapes(PUBLISHED)
        return holding(read, guess, (QUANTIZER,), dtype)
    return holding(lambda: _read_pipeline(path), lambda: _guess_pipeline(path), DECODER, dtype)


def shape(weights: Mapping[str, Path], options: Mapping[str, Option], dtype: str, rows: int) -> Shape:
    """The `Shape`; pictures are read and painted one at a time. Raises InputError where a config.json is missing or
    not of such a model."""
    from silmm.lmm.seed_llama.weights import read_config

    folder.read_config(weights["llm"], "seed_llama")
    config = read_config(weights["llm"])
    sizes = _sizes(weights["visual"])
    configs = _read_configs(weights["diffusion"])
    first, second = (configs["vae"]["block_out_channels"] * 2)[:2]
    side = configs["unet"]["sample_size"] * 2 ** (len(configs["vae"]["block_out_channels"]) - 1)
    decoder = decoder_of(config, dtype)
    return Shape(
        speaker=decoder,
        words=config.vocab_size,
        painter=decoder,
        codes=sizes.codes,
        places=sizes.queries,
        kept=sizes.queries * 4,
        # What the head read, once more in float32, and its slope (see silmm.kernels.selective_logps).
        learned=sizes.queries * decoder.width * (decoder.item + 4 + 4),
        seen=sizes.queries + 2,
        looked_at=rows,
        see=sizes.places * (4 * sizes.vision_width + 2 * sizes.vision_hidden) * FLOAT,
        render=vae_peak(first, second, side * side),
    )


def _sizes(visual: Path) -> quantizer_file.Sizes:
    try:
        return quantizer_file.read(visual).sizes
    except InputError:
        return PUBLISHED


def _read_llm(path: Path) -> tuple[Shapes, list[Path]]:
    found = folder.check(path, family="seed_llama", model_type="llama", pickled=True)
    return {name: shape for name, (_, shape) in found.tensors.items() if "rotary_emb" not in name}, found.files


def _read_visual(path: Path) -> tuple[Shapes, list[Path]]:
    found = quantizer_file.read(path)
    return pickled.shapes_of(found.tensors), found.files


def _guess_llm(path: Path) -> Shapes:
    from silmm.lmm.seed_llama.weights import skeleton

    folder.read_config(path, "seed_llama")
    return {name: tuple(weight.shape) for name, weight in skeleton(path).state_dict().items()}


def _read_configs(path: Path) -> dict[str, dict[str, Any]]:
    from silmm.lmm.seed_llama import unclip

    return pipeline.read_configs(path, family="seed_llama", pipeline=unclip.PIPELINE, parts=unclip.PARTS)


def _guess_pipeline(path: Path) -> Shapes:
    from silmm.lmm.seed_llama import unclip

    made = pipeline.empty(path, _read_configs(path), unclip.PARTS)
    return {
        f"{part}/{name}": shape
        for part, module in made.items()
        for name, shape in pickled.shapes_of(module.state_dict()).items()
    }


def _read_pipeline(path: Path) -> tuple[Shapes, list[Path]]:
    from silmm.lmm.seed_llama import unclip

    pipeline.check(path, family="seed_llama", pipeline=unclip.PIPELINE, parts=unclip.PARTS)
    files = pipeline.weight_files(path, unclip.PARTS)
    headers = {f"{file.parent.name}/": folder.read_header(file)[0] for file in files}
    shapes = {part + name: tuple(entry["shape"]) for part, header in headers.items() for name, entry in header.items()}
    return shapes, files
