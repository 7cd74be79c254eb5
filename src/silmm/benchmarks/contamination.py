"""Which texts are prompts of a benchmark, or all but: a model that trains on them is not measured by it any more.

python -m silmm.benchmarks.contamination FILES... --against PATH... counts them in anybody's training prompts.

Exact: equal but for Unicode's spellings (NFKC), case, punctuation, articles and white space. Near: the same phrases
between commas and `and`, in any order, but for simple plurals, digits for numbers, `is` and `there are`, and `a photo
of` before it; or at least OVERLAP of the pairs of neighbouring words in both. The order of words within a phrase
counts: `a red car and a blue dog` is another prompt than `a blue car and a red dog`, and to tell them apart is what
such benchmarks ask of a model.
"""

from __future__ import annotations

import argparse
import re
import sys
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from silmm.benchmarks.prompt_files import prompts_by_file, told
from silmm.errors import InputError

REASONS = ("benchmark_exact", "benchmark_near")
OVERLAP = Fraction(8, 10)  # Jaccard index of pairs of words: one word of 17 may differ, or one of 13 be missing

_ARTICLES = {"a", "an", "the"}
_LINKS = {"is", "are", "was", "were", "there", "and"}  # words that a prompt says the same without
_NUMBERS = {"1": "one", "2": "two", "3": "three", "4": "four", "5": "five", "6": "six", "7": "seven", "8": "eight"}
_FRAME = re.compile(r"(?:a |an |the )?(?:photo|photograph|picture|image) of ")
_BREAKS = re.compile(r"[,;.:&]|\band\b")
_WORDS = re.compile(r"[^\W_]+")

Pairs = frozenset[tuple[str, str]]


def normalised(text: str) -> str:
    """What an exact match compares: words in lower case, without articles."""
    return " ".join(word for word in _words(text) if word not in _ARTICLES)


def phrases(text: str) -> tuple[str, ...]:
    """What a near match compares first: the text's phrases in plain forms, sorted."""
    plain = unicodedata.normalize("NFKC", text).casefold().strip()
    parts = (" ".join(_stems(part)) for part in _BREAKS.split(_FRAME.sub("", plain, count=1)))
    return tuple(sorted(part for part in parts if part))


def pairs(text: str) -> Pairs:
    """What a near match compares next: pairs of neighbouring words in plain forms, with both ends of the text."""
    stems = _stems(text)
    return frozenset(pairwise(["", *stems, ""])) if stems else frozenset()


def _words(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKC", text).casefold()
    return _WORDS.findall(re.sub(r"['\u2019]", "", plain))


def _stems(text: str) -> list[str]:
    return [_stem(_NUMBERS.get(word, word)) for word in _words(text) if word not in _ARTICLES | _LINKS]


def _stem(word: str) -> str:
    """A word without the ending of a regular plural. Both sides lose it, so that an odd stem does no harm."""
    if len(word) > 4 and word.endswith("ies"):
        return f"{word[:-3]}y"
    if len(word) > 4 and word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


@dataclass(frozen=True)
class Index:
    """Benchmark prompts, found by their text, by their phrases and by their pairs of words."""

    prompts: tuple[str, ...]
    exact: dict[str, int]
    phrases: dict[tuple[str, ...], int]
    pairs: tuple[Pairs, ...]
    holders: dict[tuple[str, str], list[int]]
    """The prompts with a pair of words."""


def index(prompts: Iterable[str]) -> Index:
    """Index prompts; of several that match alike, the first is found."""
    distinct = tuple(dict.fromkeys(prompts))
    sets = tuple(pairs(text) for text in distinct)
    holders: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, own in enumerate(sets):
        for pair in own:
            holders[pair].append(i)
    return Index(distinct, _first(normalised, distinct), _first(phrases, distinct), sets, dict(holders))


def _first(key: Callable[[str], Any], texts: tuple[str, ...]) -> dict[Any, int]:
    found: dict[Any, int] = {}
    for i, text in enumerate(texts):
        if made := key(text):
            found.setdefault(made, i)
    return found


def match(text: str, known: Index, overlap: Fraction = OVERLAP) -> tuple[str, str] | None:
    """The reason of REASONS to refuse a text for, and the benchmark's prompt that it matches; None for neither."""
    if (i := known.exact.get(normalised(text))) is not None:
        return REASONS[0], known.prompts[i]
    if (i := known.phrases.get(phrases(text))) is None:
        i = _overlapping(pairs(text), known, overlap)
    return None if i is None else (REASONS[1], known.prompts[i])


def _overlapping(own: Pairs, known: Index, overlap: Fraction) -> int | None:
    """The first prompt with so large a Jaccard index: |both| / |either| >= overlap takes at least overlap * |own| of
    the text's pairs, so that it has one of any |own| - that + 1 of them; the rarest have the fewest prompts to try."""
    needed = -(-len(own) * overlap.numerator // overlap.denominator)
    rarest = sorted(own, key=lambda pair: (len(known.holders.get(pair, ())), pair))[: len(own) - needed + 1]
    candidates = sorted({i for pair in rarest for i in known.holders.get(pair, ())})
    for i in candidates:
        both = len(own & known.pairs[i])
        either = len(own) + len(known.pairs[i]) - both
        if both * overlap.denominator >= overlap.numerator * either:
            return i
    return None


def load(paths: Iterable[Path]) -> Index:
    """Index the prompts of files and folders, and say on standard error how many there were in which.

    Raises InputError, RecordError: as `prompt_files.prompts_by_file`.
    """
    paths = tuple(paths)
    found = prompts_by_file(paths)
    for path in paths:
        print(f"benchmark prompts: {told(path, found)}", file=sys.stderr)
    return index(prompt for prompts in found.values() for prompt in prompts)


def main() -> int:
    """Print a table: prompts of each file, exact matches, and near ones at several overlaps; then the matches."""
    parser = argparse.ArgumentParser(prog="python -m silmm.benchmarks.contamination", description="Match prompts.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="prompts to check, or folders of them")
    text = "files or folders of benchmark prompts"
    parser.add_argument("--against", nargs="+", type=Path, required=True, metavar="PATH", help=text)
    args = parser.parse_args()
    try:
        known, mine = load(args.against), prompts_by_file(args.files)
    except InputError as error:
        parser.error(str(error))
    steps = [Fraction(n, 10) for n in (5, 6, 7, 8, 9)]
    marks = [f"near {float(step)}{'*' if step == OVERLAP else ''}" for step in steps]
    print("prompts", "exact", "phrases", *marks, "file", sep="\t")
    for file, texts in mine.items():
        phrased = sum(normalised(text) not in known.exact and phrases(text) in known.phrases for text in texts)
        counted = [Counter(hit[0] for text in texts if (hit := match(text, known, step))) for step in steps]
        near = [counts[REASONS[1]] for counts in counted]
        print(len(texts), counted[0][REASONS[0]], phrased, *near, file, sep="\t")
    for text in dict.fromkeys(text for texts in mine.values() for text in texts):
        if hit := match(text, known):
            print(*hit, text, sep="\t")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
