"""Large multimodal models behind one interface: `load(folder)` gives an `LMM` (see `silmm.lmm.interface`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from silmm.errors import InputError

if TYPE_CHECKING:
    from silmm.lmm.interface import LMM as LMM


def load(folder: Path) -> LMM:
    """The LMM of a checkpoint folder. Raises InputError when the folder is not a checkpoint that silmm knows."""
    config = Path(folder) / "config.json"
    try:
        family = json.loads(config.read_text(encoding="utf-8")).get("silmm_family")
    except FileNotFoundError:
        raise InputError(f"{config}: no such file: {folder} is not a checkpoint folder") from None
    except (ValueError, AttributeError) as error:
        raise InputError(f"{config}: not a JSON object ({error})") from None
    if family == "shapeworld_discrete":
        from silmm.lmm.shapeworld import checkpoint

        return checkpoint.load(Path(folder))
    if family == "shapeworld_continuous":
        from silmm.lmm.shapeworld import checkpoint_continuous

        return checkpoint_continuous.load(Path(folder))
    if family == "dreamllm":
        from silmm.lmm.dreamllm import checkpoint as dreamllm

        return dreamllm.load(Path(folder))
    if family == "emu3":
        from silmm.lmm.emu3 import checkpoint as emu3

        return emu3.load(Path(folder))
    if family == "janus":
        from silmm.lmm.janus import checkpoint as janus

        return janus.load(Path(folder))
    if family == "seed_llama":
        from silmm.lmm.seed_llama import checkpoint as seed_llama

        return seed_llama.load(Path(folder))
    raise InputError(
        f"{config}: silmm_family is {family!r}: expected dreamllm, emu3, janus, seed_llama, shapeworld_discrete or"
        " shapeworld_continuous"
    )
