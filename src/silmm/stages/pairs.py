"""Step 4b: best and worst images of a prompt make preference pairs (paper section 3.3)."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from silmm import rng as keyed
from silmm.errors import InputError
from silmm.records import (
    PAIRS,
    SCORES,
    PairStats,
    PromptQuestions,
    RecordError,
    read_jsonl,
    read_table,
    write_json,
    write_table,
)
from silmm.settings import Pairs, require_all
from silmm.stages.scoring import SCORERS, Answers, answers_of, score_images

# Why a draft is no pair; all are counted, so that 0 is a count too.
REASONS = ("tie", "small_gap", "unsure_winner", "surplus")
# Scorers that need more than an image's answers, after scores by the LMM's own.
CONTROLS = ("random", "oracle")
require_all("pairs", "scorer", (*SCORERS, *CONTROLS))


def drafts(scores: dict[int, float], settings: Pairs) -> list[tuple[int, int]]:
    """(better, worse) samples of one prompt: the top_n against the bottom_n, in order or all combinations.

    Ties are broken by sample number. No draft holds one sample twice.
    """
    ranked = sorted(scores, key=lambda k: (-scores[k], k))
    n = min(settings.top_n, len(ranked) // 2)
    top, bottom = ranked[:n], ranked[::-1][:n]
    return [(a, b) for a in top for b in bottom] if settings.product else list(zip(top, bottom, strict=True))


def fault(gap: float, winner: bool, settings: Pairs) -> str | None:
    """Why a draft is no pair (`tie`, `small_gap`; `unsure_winner`: the better image may not be chosen), or None."""
    if gap <= settings.min_gap:
        return "small_gap" if gap > 0 else "tie"
    return None if winner else "unsure_winner"


def choose(
    scores: dict[int, float], settings: Pairs, winners: set[int] | None = None
) -> tuple[list[tuple[int, int]], Counter[str]]:
    """(chosen, rejected) samples of one prompt, and the number of drafts that came to nothing, by reason.

    A pair needs a gap of more than `min_gap`; its chosen one is among `winners`, where these are given.
    """
    found, dropped = [], Counter[str]()
    for a, b in drafts(scores, settings):
        reason = fault(scores[a] - scores[b], winners is None or a in winners, settings)
        if reason:
            dropped[reason] += 1
        else:
            found.append((a, b))
    return found, dropped


def run(
    settings: Pairs,
    *,
    scores: Path,
    qa: Path,
    images: tuple[Path, ...],
    seed: int,
    iteration: int,
    out: Path,
    stats: Path,
    threads: int = 1,
) -> None:
    """Pair by the LMM's own score; `random` shuffles the scores among a prompt's images: same gaps, no information."""
    table = read_table(scores, SCORES).to_pydict()
    questions = read_jsonl(qa, PromptQuestions)
    try:
        answers = answers_of(table, questions)
    except RecordError as error:
        raise RecordError(f"{scores}: {error}; re-run silmm score") from None
    if not answers:
        raise InputError(
            f"{scores}: no answer to any question, so there is nothing to score: expected rows of silmm score"
        )
    scored = len(answers)
    if settings.prompts:
        answers = {p: answers[p] for p in sorted(answers)[: settings.prompts]}
    if settings.spoiled:
        answers = _spoiled(answers, settings.spoiled, (seed, "spoiled", iteration))
    by_prompt = score_images(answers, questions, "self" if settings.scorer in CONTROLS else settings.scorer)
    if settings.scorer == "oracle":
        by_prompt = {p: s for p, s in _oracle_scores(images, qa, questions).items() if p in answers}
    if settings.scorer == "random":
        by_prompt = {p: _shuffled(s, (seed, "pairs", iteration, p)) for p, s in by_prompt.items()}
    winners = _all_yes(answers, questions) if settings.winner == "all_yes" else None
    columns: dict[str, list] = {name: [] for name in PAIRS.columns}
    dropped = Counter(dict.fromkeys(REASONS, 0))
    for prompt_id in sorted(by_prompt):
        own = by_prompt[prompt_id]
        found, lost = choose(own, settings, None if winners is None else winners[prompt_id])
        kept = _drawn(found, settings.keep, (seed, "keep", iteration, prompt_id))
        dropped.update({**lost, "surplus": len(found) - len(kept)})
        for chosen, rejected in kept:
            row = (prompt_id, chosen, rejected, own[chosen], own[rejected])
            for name, value in zip(columns, row, strict=True):
                columns[name].append(value)
    n, paired = len(columns["chosen"]), len(set(columns["prompt_id"]))
    print(f"pairs: {n} from {paired} of {len(by_prompt)} prompts; lost: {dict(dropped)}", file=sys.stderr)
    if not n:
        among = "" if settings.winner == "any" else " with every answer yes for the better one"
        raise InputError(
            f"{scores}: no two images of a prompt differ by more than pairs.min_gap = {settings.min_gap}{among}"
        )
    tied = sum(len(set(own.values())) == 1 for own in by_prompt.values())
    counts = PairStats(scored, scored - len(by_prompt), tied, paired, n + dropped.total(), n, dict(dropped))
    write_json(stats, counts)
    write_table(out, columns, PAIRS)


def _drawn(found: list[tuple[int, int]], keep: int, key: tuple) -> list[tuple[int, int]]:
    """At most `keep` of the pairs, at random, in their order; all of them for 0."""
    if not 0 < keep < len(found):
        return found
    picked = keyed.generator(*key).choice(len(found), keep, replace=False)
    return [found[i] for i in sorted(picked.tolist())]


def _spoiled(answers: Answers, share: float, key: tuple) -> Answers:
    """The answers of a worse judge: yes and no change places in this share of them, drawn by prompt and sample."""

    def swapped(prompt_id: str, sample: int, given: np.ndarray) -> np.ndarray:
        wrong = keyed.generator(*key, prompt_id, sample).random(len(given)) < share
        return np.where(wrong[:, None], given[:, ::-1], given)

    return {p: {k: swapped(p, k, given) for k, given in samples.items()} for p, samples in answers.items()}


def _all_yes(answers: Answers, questions: Sequence[PromptQuestions]) -> dict[str, set[int]]:
    """The samples of each prompt for which the expected answer to every question is the likelier one."""
    scores = score_images(answers, questions, "ratio")
    return {p: {k for k, share in samples.items() if share == 1.0} for p, samples in scores.items()}


def _shuffled(scores: dict[int, float], key: tuple) -> dict[int, float]:
    samples = sorted(scores)
    return dict(zip(samples, keyed.generator(*key).permutation([scores[k] for k in samples]).tolist(), strict=True))


def _oracle_scores(images: Sequence[Path], qa: Path, questions: list[PromptQuestions]) -> dict[str, dict[int, float]]:
    """Share of the prompt's questions that the oracle answers with yes: the upper bound of any judge."""
    from silmm.records import INDEX
    from silmm.shapeworld.language import parse_question
    from silmm.shapeworld.oracle import judge, read
    from silmm.shapeworld.scene import SIDE
    from silmm.stages.picture_file import read_pictures

    asked = {row.prompt_id: [parse_question(q.text) for q in row.questions] for row in questions}
    if not any(unit for units in asked.values() for unit in units):
        raise InputError("pairs.scorer is oracle: it judges ShapeWorld's questions, and there is none")
    shares: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))  # a number a picture
    for folder in images:
        index = read_table(folder / "index.parquet", INDEX).to_pylist()
        if not index:  # an empty shard
            continue
        if lost := sorted({row["prompt_id"] for row in index} - set(asked)):
            raise RecordError(f"{folder}: prompt {lost[0]} has no record in {qa}; re-run silmm questions")
        scenes = read(np.stack(read_pictures(folder, [row["file"] for row in index], (SIDE, SIDE))))
        for row, scene in zip(index, scenes, strict=True):
            held = [judge(unit, scene) for unit in asked[row["prompt_id"]] if unit]
            if held:
                shares[row["prompt_id"]][row["sample"]].append(float(np.mean(held)))
    return {prompt_id: {k: float(np.mean(v)) for k, v in samples.items()} for prompt_id, samples in shares.items()}
