"""Other texts for a prompt: the same claims in other words and orders, and the prompt with details filled in.

What a language model does when it is asked to rephrase or to explain a prompt (the paper's Figure 5), in a language
that is small enough to list.
"""

from __future__ import annotations

import itertools

import numpy as np

from silmm.shapeworld.language import JOINERS, NUMBERS, WORDINGS, Spec, Thing
from silmm.shapeworld.scene import ATTRIBUTES, MIRROR

LONGEST = 16  # words of a prompt


def wordings(spec: Spec) -> list[str]:
    """Every text that makes the same claims, sorted: other words for a relation, its mirrored form, other joiners,
    other orders of things. `a red circle left of a blue square` is `a blue square on the right of a red circle`."""
    texts = [_item(spec, n, thing) for n, thing in spec.items]
    if not spec.relations:
        return sorted({text for order in itertools.permutations(texts) for text in _joined(list(order))})
    relation, i, j = spec.relations[0]
    rest = [text for k, text in enumerate(texts) if k not in (i, j)]
    heads = [f"{texts[i]} {words} {texts[j]}" for words in WORDINGS[relation]]
    heads += [f"{texts[j]} {words} {texts[i]}" for words in WORDINGS[MIRROR.get(relation, relation)]]
    return sorted({f" {joiner} ".join([head, *rest]) for head in heads for joiner in JOINERS})


def _joined(texts: list[str]) -> list[str]:
    if len(texts) == 3:
        return [f"{texts[0]} , {texts[1]} {joiner} {texts[2]}" for joiner in JOINERS]
    return [f" {joiner} ".join(texts) for joiner in JOINERS]


def explained(text: str, spec: Spec, rng: np.random.Generator) -> str:
    """The prompt with attributes that it leaves open filled in at random, in its own words and as many as fit. What
    fulfils the result fulfils the prompt, and not the other way round. `spec` is the prompt's."""
    things = [thing for _, thing in spec.items]
    open_ones = [(i, name) for i, thing in enumerate(things) for name in Thing._fields if getattr(thing, name) is None]
    for number in rng.permutation(len(open_ones))[: max(LONGEST - len(text.split()), 0)]:
        i, name = open_ones[number]
        values = ATTRIBUTES[name]
        things[i] = things[i]._replace(**{name: values[rng.integers(len(values))]})
    for (n, thing), filled in zip(spec.items, things, strict=True):
        text = text.replace(_item(spec, n, thing), _item(spec, n, filled), 1)
    return text


def _item(spec: Spec, count: int, thing: Thing) -> str:
    """E.g. `a red circle`, or `two red circles`; two things of a prompt exclude each other, so no item holds another's
    words."""
    counted = any(n > 1 for n, _ in spec.items)
    return f"{NUMBERS[count - 1] if counted else 'a'} {thing.words(count)}"
