"""What Emu3 takes: its sizes, from the config.json of both weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from silmm.lmm.hf.checkpoint import Option
from silmm.lmm.hf.parts import Group, Holding, holding_of
from silmm.lmm.hf.shape import Shape, decoder_of
from silmm.typed_json import loads

HUB = {  # where the weights are
    "gen": "BAAI/Emu3-Gen and BAAI/Emu3-VisionTokenizer, or BAAI/Emu3-Gen-hf",
    "chat": "BAAI/Emu3-Chat and BAAI/Emu3-VisionTokenizer, or BAAI/Emu3-Chat-hf",
}
STAGES = {"gen": frozenset({"images", "align"}), "chat": frozenset({"prompts", "questions", "score"})}

PIXELS = (512 * 512, 1024 * 1024)  # least and most of a picture that is looked at: transformers' processor's own
MAPS = (2.05, 4.1)  # as large as the picture, that live together in the VQ decoder's last blocks; by level's channels
SEEN_MAPS = 5.1  # likewise in its encoder's first


def holds(role: str, path: Path, dtype: str) -> Holding:
    """What the folder of a role holds."""

    from silmm.lmm.emu3.original import sources
    from silmm.lmm.emu3.weights import skeleton

    groups = (
        Group("picture tokenizer", ("vqmodel.",), "float32", STAGES[role]),
        Group("language model", stages=STAGES[role]),
    )
    return holding_of(path, skeleton, groups, dtype, family="emu3", sources=sources)


def shape(weights: Mapping[str, Path], options: Mapping[str, Option], dtype: str, rows: int) -> Shape:
    """The `Shape`. Raises InputError where a config.json is missing or not Emu3's, or the side cannot be drawn."""
    from silmm.lmm.emu3.weights import read_config

    gen, chat = read_config(weights["gen"]), read_config(weights["chat"])
    side, visual = side_of(weights, options), gen.vq_config
    factor = 2 ** (len(visual.channel_multiplier) - 1)
    width = side // factor
    low, high = _pixels(weights["chat"])
    seen = round((min(max(side * side, low), high)) ** 0.5) // factor
    first, second = (visual.base_channels * m for m in visual.channel_multiplier[:2])
    frame = visual.temporal_downsample_factor * 4  # a picture is as many frames, in float32
    painter = decoder_of(gen.text_config, dtype)
    return Shape(
        speaker=painter if weights["gen"] == weights["chat"] else decoder_of(chat.text_config, dtype),
        words=chat.text_config.vocab_size,
        painter=painter,
        codes=visual.codebook_size,
        places=width * (width + 1) - 1,
        kept=width * width * 4,
        # What the head read, once more in float32, and its slope (see silmm.kernels.selective_logps).
        learned=width * width * painter.width * (painter.item + 4 + 4),
        seen=seen * (seen + 1),
        looked_at=1,
        see=round((seen * factor) ** 2 * SEEN_MAPS * first * frame),
        render=round(side * side * (MAPS[0] * first + MAPS[1] * second) * frame),
    )


def side_of(weights: Mapping[str, Path], options: Mapping[str, Option]) -> int:
    """Of drawn pictures, in pixels."""
    from silmm.lmm.emu3.checkpoint import side_of as checked

    return checked(weights, options)


def _pixels(folder: Path) -> tuple[int, int]:
    """The least and the most of the checkpoint's picture processor, or the library's."""
    from silmm.lmm.emu3 import original

    own = original.pixels_file(folder) if original.sources(folder) else folder / "preprocessor_config.json"
    for file in (folder / "processor_config.json", own):
        if file.is_file():
            found: dict[str, Any] = loads(file.read_text(encoding="utf-8"))
            found = found.get("image_processor", found)
            return int(found.get("min_pixels", PIXELS[0])), int(found.get("max_pixels", PIXELS[1]))
    return PIXELS
