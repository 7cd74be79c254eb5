"""Step 1: the policy writes compositional prompts (paper section 3.1)."""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from pathlib import Path

from silmm import lmm as models
from silmm.align.state import fingerprint
from silmm.benchmarks import contamination
from silmm.errors import InputError
from silmm.records import Prompt, PromptStats, write_json, write_jsonl
from silmm.settings import Prompts
from silmm.shapeworld.language import CATEGORY, SUBCATEGORIES
from silmm.sources import source_hash
from silmm.stages import promises, worlds
from silmm.stages.journal import close, in_blocks
from silmm.stages.runtime import prepare


def run(
    settings: Prompts,
    *,
    ckpt: Path,
    seed: int,
    iteration: int,
    out: Path,
    stats: Path,
    state: Path | None = None,
    avoid: tuple[Path, ...] | None = None,
    threads: int = 1,
) -> None:
    """Write `n` valid, distinct prompts, the sub-categories in turn; what is dropped is counted by reason. Those that
    match a prompt in `avoid`, files and folders of benchmarks, are dropped too (`benchmarks.contamination`).

    A place that no draft filled within `attempts` rounds stays empty and is counted as `unfilled`. An interrupted run
    goes on with the drafts in `state`.
    """
    prepare(threads)
    policy = models.load(ckpt)
    world = worlds.of(policy)
    known = contamination.load(avoid) if avoid else None
    reasons = (*world.reasons, "duplicate", *(contamination.REASONS if known else ()))
    wanted = {i: SUBCATEGORIES[i % len(SUBCATEGORIES)] for i in range(settings.n)}
    kept: dict[int, Prompt] = {}
    seen: set[str] = set()
    dropped: Counter[str] = Counter(dict.fromkeys(reasons, 0))
    drafts = 0
    made_of = {
        **dataclasses.asdict(settings),
        "key": (seed, iteration),
        "sources": source_hash("stages.prompts", models.name_of(ckpt)),
    }
    journal = state and state / fingerprint(made_of, [ckpt], known.prompts if known else ())
    for attempt in range(settings.attempts):
        open_places = [i for i in wanted if i not in kept]
        if not open_places:
            break
        names = [wanted[i] for i in open_places]
        keys = [(seed, "prompts", iteration, i, attempt) for i in open_places]

        def write(rows: slice, names: list[str] = names, keys: list[tuple] = keys) -> list[str]:
            given = policy.write(names[rows], keys[rows], temperature=settings.temperature)
            return promises.texts(given, len(names[rows]), ckpt)

        texts = in_blocks(write, len(names), journal=journal, name=f"prompts-{attempt}")
        drafts += len(texts)
        for i, name, text in zip(open_places, names, texts, strict=True):
            text = world.clean(text)
            reason = world.refusal(text, name) or ("duplicate" if text in seen else None)
            if not reason and known and (hit := contamination.match(text, known)):
                reason = hit[0]
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
    close(state)
