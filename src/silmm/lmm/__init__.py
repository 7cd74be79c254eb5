"""Large multimodal models behind one interface: `load(folder)` gives an `LMM` (see `silmm.lmm.interface`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from silmm.errors import InputError
from silmm.typed_json import loads, short

if TYPE_CHECKING:
    from silmm.lmm.interface import LMM as LMM


def load(folder: Path) -> LMM:
    """The LMM of a checkpoint folder. Raises InputError when the folder is not a checkpoint that silmm knows."""
    family = family_in(folder)
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
        f"{Path(folder) / 'config.json'}: silmm_family is {short(family)}: expected dreamllm, emu3, janus, seed_llama,"
        " shapeworld_discrete or shapeworld_continuous"
    )


def family_in(folder: Path) -> Any:
    """What a checkpoint folder says it is. Raises InputError where it says nothing."""
    config = Path(folder) / "config.json"
    try:
        return loads(config.read_text(encoding="utf-8")).get("silmm_family")
    except FileNotFoundError:
        raise InputError(f"{config}: no such file: {folder} is not a checkpoint folder; give one") from None
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{config}: not a JSON object ({error}): give the folder of a checkpoint") from None


def name_of(folder: Path) -> str:
    """What configs call the LMM of a checkpoint folder: `discrete`, `janus`, .. Raises what `family_in` raises."""
    return str(family_in(folder)).removeprefix("shapeworld_")


def sampling_of(folder: Path) -> Mapping[str, Any]:
    """Settings of step 2 that the LMM of a checkpoint folder is drawn with where no option says otherwise: of a
    pretrained family, the values that `Family.sampling` has a source for; ShapeWorld's LMMs have the stage's own."""
    family = family_in(folder)
    if not isinstance(family, str) or family.startswith("shapeworld_"):
        return {}
    from silmm.lmm.hf.checkpoint import family_of

    try:
        return family_of(family).sampling
    except InputError:  # of a family that there is not: refused when it is loaded
        return {}


def on_a_gpu(folder: Path) -> bool:
    """Whether the LMM of a checkpoint folder takes a GPU where there is one; ShapeWorld's are too small to."""
    return not str(family_in(folder)).startswith("shapeworld_")
