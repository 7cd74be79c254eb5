"""How far the held-out prompts are apart from what a base was trained on: in ShapeWorld's words, and in what they mean.

Compositions are held out by their exact words: no training text names a held-out one. A text with more words may still
entail it: "a solid yellow square right of a striped yellow triangle" entails "a yellow square right of a yellow
triangle". Printed by sub-category: the evaluation prompts, their different held-out compositions, and the share of the
prompts that one of the texts entails, but for the number of objects in all.

    python paper_figures/held_out_numbers.py
    python paper_figures/held_out_numbers.py --prompts results/discrete/seed0/silmm/iter1/prompts.jsonl
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable
from pathlib import Path

from silmm.lmm.shapeworld.data import spec_pool
from silmm.lmm.shapeworld.pretrain import POOL
from silmm.records import Prompt, read_jsonl
from silmm.settings import Evaluate
from silmm.shapeworld import exam
from silmm.shapeworld.holdout import is_held_out_key
from silmm.shapeworld.language import SUBCATEGORIES, Spec, Thing, composition_keys, parse_prompt
from silmm.shapeworld.scene import MIRROR


def includes(more: Thing, less: Thing) -> bool:
    """Whether an object that is `more` is `less`, too."""
    return all(b in (None, a) for a, b in zip(more, less, strict=True))


def entails(text: Spec, claim: Spec) -> bool:
    """Whether every picture of `text` has the things, in their numbers, and the relations of `claim`."""
    for places in itertools.permutations(range(len(text.items)), len(claim.items)):
        mapped = [text.items[place] for place in places]
        if all(n == m and includes(a, b) for (n, a), (m, b) in zip(mapped, claim.items, strict=True)):
            wanted = {(relation, places[i], places[j]) for relation, i, j in claim.relations}
            known = {side for r, i, j in text.relations for side in ((r, i, j), (MIRROR.get(r, r), j, i))}
            if wanted <= known:
                return True
    return False


def entailed(prompts: Iterable[exam.EvalPrompt], texts: Iterable[Spec]) -> dict[str, list[bool]]:
    """By sub-category: of each prompt, whether some text entails it."""
    different = list(dict.fromkeys(texts))
    found: dict[str, list[bool]] = {name: [] for name in SUBCATEGORIES}
    for prompt in prompts:
        found[prompt.subcategory].append(any(entails(text, prompt.spec) for text in different))
    return found


def main() -> None:
    """Print a row per sub-category, and the share of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the base whose pretraining texts count (default: 0)")
    parser.add_argument("--prompts", type=Path, help="prompts.jsonl of step 1, in place of the pretraining texts")
    args = parser.parse_args()
    tests = exam.prompts(Evaluate().prompts)
    if args.prompts:
        texts = [spec for row in read_jsonl(args.prompts, Prompt) if (spec := parse_prompt(row.prompt))]
    else:
        texts = spec_pool(args.seed, POOL)
    found = entailed(tests, texts)
    print(f"{'sub-category':14}{'prompts':>9}{'held-out compositions':>23}{'entailed':>10}")
    for name, hits in found.items():
        keys = {k for t in tests if t.subcategory == name for k in composition_keys(t.spec) if is_held_out_key(k)}
        print(f"{name:14}{len(hits):9}{len(keys):23}{100 * sum(hits) / len(hits):9.0f}%")
    every = list(itertools.chain(*found.values()))
    print(f"{'all':14}{len(every):9}{'':23}{100 * sum(every) / len(every):9.0f}%")


if __name__ == "__main__":
    main()
