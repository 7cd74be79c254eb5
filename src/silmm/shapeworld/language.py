"""The language of ShapeWorld: things, units (atomic claims), prompt specifications, and their wordings.

Text is lower case and space separated. `write_prompt` and `write_question` choose among wordings with a generator;
`parse_prompt` and `parse_question` accept every wording and return None for anything else.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from silmm.shapeworld.scene import COLORS, MAX_OBJECTS, MIRROR, RELATIONS_2D, RELATIONS_3D, SHAPES, SIZES, TEXTURES, Obj

SUBCATEGORIES = ("color", "shape", "texture", "spatial_2d", "spatial_3d", "numeracy", "non_spatial", "complex")
CORE = tuple(name for name in SUBCATEGORIES if name not in ("spatial_3d", "non_spatial"))
CATEGORY = {"color": "attribute", "shape": "attribute", "texture": "attribute", "spatial_2d": "layout",
            "spatial_3d": "layout", "numeracy": "layout", "non_spatial": "semantic", "complex": "complex"}  # fmt: skip
NUMBERS = ("one", "two", "three", "four")
WORDINGS = {
    "left": ("left of", "to the left of", "on the left of"),
    "right": ("right of", "to the right of", "on the right of"),
    "above": ("above", "on top of", "over"),
    "below": ("below", "under", "beneath"),
    "front": ("in front of", "partly hiding"),
    "behind": ("behind", "partly hidden by"),
    "linked": ("linked to", "tied to", "connected to"),
}
JOINERS = ("and", "with", "plus")
_PHRASES = sorted(((tuple(w.split()), rel) for rel, ws in WORDINGS.items() for w in ws), key=lambda p: -len(p[0]))


class Thing(NamedTuple):
    """A described object: its shape, and the attributes that the words mention."""

    shape: str
    color: str | None = None
    texture: str | None = None
    size: str | None = None

    def describes(self, obj: Obj) -> bool:
        """Whether the object has all mentioned attributes."""
        return (
            obj.shape == self.shape
            and self.color in (None, obj.color)
            and self.texture in (None, obj.texture)
            and self.size in (None, obj.size)
        )

    def excludes(self, other: Thing) -> bool:
        """Whether no object can be both."""
        return any(a and b and a != b for a, b in zip(self, other, strict=True))

    def words(self, count: int = 1) -> str:
        """E.g. `small striped red circle`, `two blue squares` has the noun in plural."""
        noun = self.shape if count == 1 else self.shape + "s"
        return " ".join(w for w in (self.size, self.texture, self.color, noun) if w)


class Unit(NamedTuple):
    """One atomic claim. kind: exist (a), count (count, a), relation (relation, a, b), total (count objects in all)."""

    kind: str
    a: Thing | None = None
    count: int = 0  # type: ignore[assignment]  # not tuple.count
    relation: str = ""
    b: Thing | None = None

    def key(self) -> str:
        """A canonical text, e.g. `relation(left, red circle, blue square)`."""
        parts = [
            self.relation,
            str(self.count) if self.count else "",
            *(t.words() if t else "" for t in (self.a, self.b)),
        ]
        return f"{self.kind}({', '.join(p for p in parts if p)})"


class Spec(NamedTuple):
    """What a prompt asks for: (count, thing) items, and (relation, i, j) between items."""

    items: tuple[tuple[int, Thing], ...]
    relations: tuple[tuple[str, int, int], ...] = ()

    @property
    def total(self) -> int:
        """Objects asked for."""
        return sum(n for n, _ in self.items)


def units(spec: Spec) -> list[Unit]:
    """The atomic claims of a prompt: its things (or counts), its relations, and the number of objects in all."""
    counted = any(n > 1 for n, _ in spec.items)
    claims = [Unit("count", a, n) if counted else Unit("exist", a) for n, a in spec.items]
    claims += [Unit("relation", spec.items[i][1], 0, rel, spec.items[j][1]) for rel, i, j in spec.relations]
    return [*claims, Unit("total", None, spec.total)]


def category(spec: Spec) -> str | None:
    """The sub-category that a prompt belongs to, or None if ShapeWorld has no such prompt."""
    things = [a for _, a in spec.items]
    counts = [n for n, _ in spec.items]
    if not 1 <= spec.total <= MAX_OBJECTS or not 1 <= len(things) <= 3 or len(spec.relations) > 1:
        return None
    if any(not a.excludes(b) for a, b in itertools.combinations(things, 2)):
        return None
    if spec.relations and max(counts) > 1:
        return None
    mentioned = [frozenset(k for k in ("color", "texture", "size") if getattr(a, k)) for a in things]
    same = mentioned[0] if len(set(mentioned)) == 1 and len(mentioned[0]) <= 1 else None
    if spec.relations:
        relation = spec.relations[0][0]
        if len(things) == 2 and same == {"color"}:
            simple = {"linked": "non_spatial", **dict.fromkeys(RELATIONS_3D, "spatial_3d")}
            return simple.get(relation, "spatial_2d")
        return "complex"
    if max(counts) > 1:
        return "numeracy" if same == {"color"} else "complex"
    if len(things) < 2:
        return None
    if same is None:
        return "complex"
    return {"color": "color", "texture": "texture"}.get(next(iter(same), ""), "shape")


def _item(count: int, thing: Thing, counted: bool) -> str:
    return f"{NUMBERS[count - 1] if counted else 'a'} {thing.words(count)}"


def write_prompt(spec: Spec, rng: np.random.Generator) -> str:
    """One wording of the specification."""
    counted = any(n > 1 for n, _ in spec.items)
    texts = [_item(n, a, counted) for n, a in spec.items]
    joiner = JOINERS[rng.integers(len(JOINERS))]
    if spec.relations:
        relation, i, j = spec.relations[0]
        head = f"{texts[i]} {WORDINGS[relation][rng.integers(len(WORDINGS[relation]))]} {texts[j]}"
        rest = [t for k, t in enumerate(texts) if k not in (i, j)]
        return f" {joiner} ".join([head, *rest])
    if len(texts) == 3:
        return f"{texts[0]} , {texts[1]} {joiner} {texts[2]}"
    return f" {joiner} ".join(texts)


def write_question(unit: Unit, rng: np.random.Generator | None = None) -> str:
    """A yes/no question whose answer is yes where the unit holds."""
    if unit.kind == "total":
        return f"{'is' if unit.count == 1 else 'are'} there {NUMBERS[unit.count - 1]} object{'s' * (unit.count > 1)} ?"
    assert unit.a is not None
    if unit.kind == "exist":
        return f"is there a {unit.a.words()} ?"
    if unit.kind == "count":
        verb = "is" if unit.count == 1 else "are"
        return f"{verb} there {NUMBERS[unit.count - 1]} {unit.a.words(unit.count)} ?"
    assert unit.b is not None
    wordings = WORDINGS[unit.relation]
    phrase = wordings[rng.integers(len(wordings)) if rng is not None else 0]
    return f"is a {unit.a.words()} {phrase} a {unit.b.words()} ?"


def _take_thing(words: list[str], count: int) -> Thing | None:
    """Take one thing off the front of the words (in place); None if there is none."""
    found: dict[str, str] = {}
    for name, values in (("size", SIZES), ("texture", TEXTURES), ("color", COLORS)):
        if words and words[0] in values:
            found[name] = words.pop(0)
    plural = "s" if count > 1 else ""
    shape = next((s for s in SHAPES if words and words[0] == s + plural), None)
    if shape is None:
        return None
    words.pop(0)
    return Thing(shape, found.get("color"), found.get("texture"), found.get("size"))


def _take_item(words: list[str]) -> tuple[int, Thing, bool] | None:
    """Take `a red circle` or `two red circles` off the front: (count, thing, counted)."""
    if not words or words[0] not in ("a", *NUMBERS):
        return None
    word = words.pop(0)
    count = 1 if word == "a" else NUMBERS.index(word) + 1
    thing = _take_thing(words, count)
    return (count, thing, word != "a") if thing else None


def _take_relation(words: list[str]) -> str | None:
    for phrase, relation in _PHRASES:
        if tuple(words[: len(phrase)]) == phrase:
            del words[: len(phrase)]
            return relation
    return None


def parse_prompt(text: str) -> Spec | None:
    """The specification that a prompt words, or None if it is not ShapeWorld's language or names no sub-category."""
    words = text.split()
    first = _take_item(words)
    if first is None:
        return None
    items, relations = [first], []
    while words:
        relation = _take_relation(words) if len(items) == 1 else None
        if relation:
            relations.append((relation, 0, 1))
        elif words[0] in (*JOINERS, ","):
            words.pop(0)
        else:
            return None
        item = _take_item(words)
        if item is None:
            return None
        items.append(item)
    spec = Spec(tuple((n, a) for n, a, _ in items), tuple(relations))
    counted = any(n > 1 for n, _, _ in items)
    if any(flag != counted for _, _, flag in items) or category(spec) is None:
        return None
    return spec


def parse_single(text: str) -> Thing | None:
    """The thing that a text names alone (`a red circle`, `red circle`, `one red circle`), or None. It is no prompt of a
    sub-category, but the LMMs saw such captions."""
    words = text.split()
    words = words[1:] if words and words[0] in ("a", "an", "one") else words
    thing = _take_thing(words, 1)
    return thing if thing and not words else None


def phrases(text: str) -> list[str]:
    """A prompt cut at joiners, commas and before relations: `a red circle`, `left of a blue square`. Any text will do:
    what is not in the language stays where it is."""
    words = text.split()
    found: list[list[str]] = [[]]
    while words:
        before = len(words)
        phrase = words[:]
        if words[0] in (*JOINERS, ","):
            words.pop(0)
            found.append([])
        elif _take_relation(words):
            found.append(phrase[: before - len(words)])
        else:
            found[-1].append(words.pop(0))
    return [" ".join(phrase) for phrase in found if phrase]


def parse_question(text: str) -> Unit | None:
    """The unit that a question asks about, or None if it is not a question of ShapeWorld's language."""
    words = text.split()
    if len(words) < 4 or words[-1] != "?" or words[0] not in ("is", "are"):
        return None
    plural = words[0] == "are"
    if words[1] != "there":
        return None if plural else _parse_relation_question(words[1:-1])
    words = words[2:-1]
    if words[0] in NUMBERS and words[1:] == ["objects" if plural else "object"]:
        count = NUMBERS.index(words[0]) + 1
        return Unit("total", None, count) if (count > 1) == plural else None
    item = _take_item(words)
    if item is None or words or (item[0] > 1) != plural:
        return None
    count, thing, counted = item
    return Unit("count", thing, count) if counted else Unit("exist", thing)


def _parse_relation_question(words: list[str]) -> Unit | None:
    first = _take_item(words)
    relation = _take_relation(words) if first else None
    second = _take_item(words) if relation else None
    if not first or not relation or not second or words or first[2] or second[2]:
        return None
    return Unit("relation", first[1], 0, relation, second[1])


def composition_keys(spec: Spec) -> list[str]:
    """The pairs that a prompt composes: related things by their relation, all others by `with`; symmetric wordings of
    one pair (left/right, front/behind, linked, with) share a key."""
    keys = []
    related = {frozenset((i, j)): (rel, i, j) for rel, i, j in spec.relations}
    for i, j in itertools.combinations(range(len(spec.items)), 2):
        relation, i, j = related.get(frozenset((i, j)), ("with", i, j))
        a, b = (f"{spec.items[k][0]} {spec.items[k][1].words()}" for k in (i, j))
        if relation in ("right", "below", "behind"):
            relation, a, b = MIRROR[relation], b, a
        elif relation in ("with", "linked"):
            a, b = sorted((a, b))
        keys.append(f"{relation}({a}, {b})")
    return keys


def lexicon() -> list[str]:
    """Every word of the language, sorted."""
    phrases = " ".join(w for ws in WORDINGS.values() for w in ws).split()
    nouns = [s + plural for s in (*SHAPES, "object") for plural in ("", "s")]
    other = ["a", "is", "are", "there", "?", ","]
    return sorted({*COLORS, *TEXTURES, *SIZES, *nouns, *NUMBERS, *JOINERS, *phrases, *other})


assert set(WORDINGS) == {*RELATIONS_2D, *RELATIONS_3D, "linked"}
