"""Step 1: the policy writes compositional prompts (paper section 3.1)."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from silmm import lmm as models
from silmm.errors import InputError
from silmm.records import Prompt, PromptStats, write_json, write_jsonl
from silmm.settings import Prompts
from silmm.shapeworld.language import CATEGORY, SUBCATEGORIES
from silmm.stages import worlds
from silmm.stages.runtime import prepare


def run(settings: Prompts, *, ckpt: Path, seed: int, iteration: int, out: Path, stats: Path, threads: int = 1) -> None:
    """Write `n` valid, distinct prompts, the sub-categories in turn; what is dropped is counted by reason.

    A place that no draft filled within `attempts` rounds stays empty and is counted as `unfilled`.
    """
    prepare(threads)
    policy = models.load(ckpt)
    world = worlds.of(policy)
    wanted = {i: SUBCATEGORIES[i % len(SUBCATEGORIES)] for i in range(settings.n)}
    kept: dict[int, Prompt] = {}
    seen: set[str] = set()
    dropped: Counter[str] = Counter(dict.fromkeys((*world.reasons, "duplicate"), 0))
    drafts = 0
    for attempt in range(settings.attempts):
        open_places = [i for i in wanted if i not in kept]
        if not open_places:
            break
        names = [wanted[i] for i in open_places]
        keys = [(seed, "prompts", iteration, i, attempt) for i in open_places]
        texts = policy.write(names, keys, temperature=settings.temperature)
        drafts += len(texts)
        for i, name, text in zip(open_places, names, texts, strict=True):
            text = world.clean(text)
            reason = world.refusal(text, name) or ("duplicate" if text in seen else None)
            if reason:
                dropped[reason] += 1
                continue
            seen.add(text)
            kept[i] = Prompt(f"p{i:05d}", CATEGORY[name], name, text, attempt)
        print(f"prompts: {len(kept)} of {settings.n} kept after {drafts} drafts", file=sys.stderr)
    if not kept:
        raise InputError(f"{ckpt}: not one of {drafts} drafts is a valid prompt ({dict(dropped)}): {world.advice}")
    dropped["unfilled"] = settings.n - len(kept)
    write_json(stats, PromptStats(len(kept), drafts, dict(dropped)))
    write_jsonl(out, [kept[i] for i in sorted(kept)])
