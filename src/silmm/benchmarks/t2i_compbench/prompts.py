"""The official prompt lists: 300 prompts of each category, a line each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from silmm.benchmarks.interface import DataFile, Item
from silmm.benchmarks.t2i_compbench.numeracy import counted
from silmm.errors import RecordError
from silmm.typed_json import short

COMMIT = "1b7094991a57f3c22abdd4f6e8ba6c1a15517073"
SEEDS = tuple(range(42, 52))  # of the ten pictures of a prompt (GORS_finetune/inference_eval.py)
EACH = 300  # prompts of a category
SPATIAL, ACTION, BOTH = "spatial", "action", "both"  # what a complex prompt has beside attributes

# Of each category: its file, with the hash at the commit.
LISTS = {
    "color": ("color_val.txt", "1634259756dbc77d13093d907d414480080ec9790a8c97ad09efaea7b2534f2d"),
    "shape": ("shape_val.txt", "37e1a276906c7ea9516cbd7ac8501be896006c0c17ca7344f260562834455bae"),
    "texture": ("texture_val.txt", "fbb5363515b4a28009e360afaaaf389d2dd2289e50dbb0c6ef4ea0c7fe4f3d4f"),
    "spatial_2d": ("spatial_val.txt", "8707a1d7e42ce3002d95363cf55f74bd043c843ae27108f5125aaaa7840ca988"),
    "spatial_3d": ("3d_spatial_val.txt", "c9953597315f36a5fcb41291bb19bdc6ab5f64a0fa760d691b4854a73f5d1fe9"),
    "numeracy": ("numeracy_val.txt", "dad8df141604b70ba7554bec724e3db0a80023680769b5c514854ea2d2527bbe"),
    "non_spatial": ("non_spatial_val.txt", "04c56cc9ac441dc9ea6c5157652058bd1635b5308526dd31bb29a1caab9a758d"),
    "complex": ("complex_val.txt", "1b808018b8d9916db3d47d5aa2ef18377a3549a56901a474156f799824cdf3b4"),
}
# What divides the complex prompts; the rest has both.
PARTS = {
    SPATIAL: ("complex_val_spatial.txt", "6c7ac0ab75c7c9080cfc7b421fb059b9b0febb98471707aeedf58771088abc02"),
    ACTION: ("complex_val_action.txt", "d49ee4c7f99e3f3379fb8704a54ff5288b83bb412971edf616a4721c2473308e"),
}
OBJECTS = ("new_objects.txt", "f39a3d2ff6067d7738673cbf465dc659ccc750776162989a5d9916f1d5f3e231")  # "cup - cups"
FILES = tuple(
    DataFile(
        name, f"https://raw.githubusercontent.com/Karine-Huang/T2I-CompBench/{COMMIT}/examples/dataset/{name}", sha256
    )
    for name, sha256 in (*LISTS.values(), *PARTS.values(), OBJECTS)
)


def read(folder: Path) -> list[Item]:
    """The prompts of all categories; `facts` of a complex one is which relations it has (SPATIAL, ACTION, BOTH), of one
    of numeracy what it counts.

    Raises RecordError for another number of prompts, for one that is empty, twice, or no part of a file's name, and for
    one of numeracy that counts nothing of the list of objects.
    """
    parts = {part: {_matched(text) for text in _lines(folder / name)} for part, (name, _) in PARTS.items()}
    singular_of = _objects(folder / OBJECTS[0])
    items = []
    for category, (name, _) in LISTS.items():
        texts = _lines(folder / name)
        if len(texts) != EACH:
            raise RecordError(f"{folder / name}: {len(texts)} prompts: expected {EACH}; give the official file")
        for number, text in enumerate(texts):
            facts: Any = None
            if category == "complex":
                facts = next((part for part in parts if _matched(text) in parts[part]), BOTH)
            if category == "numeracy" and not (facts := counted(text, singular_of)):
                raise RecordError(
                    f"{folder / name}:{number + 1}: counts nothing of {OBJECTS[0]}: give the official file"
                )
            items.append(Item(f"{category}-{number:03d}", text, category, SEEDS, facts))
    return items


def _objects(file: Path) -> dict[str, str]:
    """The singular of every noun of the official list, by its singular and its plural. Raises RecordError."""
    names: dict[str, str] = {}
    for number, line in enumerate(_text(file), 1):
        singular, dash, plural = (part.strip().lower() for part in line.partition(" - "))
        if not dash or not singular or not plural:
            raise RecordError(f"{file}:{number}: {short(line)}: expected 'cup - cups'")
        names.setdefault(plural, singular)
        names[singular] = singular
    return names


def _matched(text: str) -> str:
    """A complex prompt as the official evaluator looks it up (3_in_1_eval/3_in_1.py)."""
    return text.split(".")[0].lower()


def _lines(file: Path) -> list[str]:
    lines = [line.split("\t")[0].strip() for line in _text(file)]
    seen: dict[str, int] = {}
    for number, text in enumerate(lines, 1):
        if not text:
            raise RecordError(f"{file}:{number}: no prompt: expected one a line")
        if "/" in text or "_" in text or "\0" in text or len(text.encode()) > 200:
            raise RecordError(
                f"{file}:{number}: {short(text)} cannot name a picture: expected no '/', no '_', not long"
            )
        if text in seen:
            raise RecordError(f"{file}:{number}: the prompt of line {seen[text]} again: give the official file")
        seen[text] = number
    return lines


def _text(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{file}: not a text that can be read ({short(error)}): give the official file") from None
