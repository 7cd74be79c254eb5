"""Judge a policy by the exact oracle on held-out compositions, and see whether it forgot how to look and to write."""

from __future__ import annotations

import itertools
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from silmm.lmm.interface import VisualTokens
from silmm.lmm.sampler import parse_sampler, parse_samplers
from silmm.records import EVAL, PAIRS, EvalStats, Metric, Prompt, read_jsonl, read_table, write_json, write_table
from silmm.settings import Evaluate
from silmm.shapeworld import exam
from silmm.shapeworld.language import SUBCATEGORIES, parse_prompt, units, write_question
from silmm.shapeworld.oracle import judge, read
from silmm.shapeworld.questions import coverage
from silmm.stages.feature_range import feature_ranges
from silmm.stages.own_score import ask, own_scores, say_silent
from silmm.stages.pictures import tokens_of
from silmm.stages.representations import Key, check_samples, read_tokens
from silmm.stages.runtime import prepare, progress
from silmm.stages.worlds import load_judged

SIGHTS = 160  # specifications in the looking test
WRITTEN = 256  # prompts that the policy writes in the writing test
BLOCK = 64  # prompts


def run(
    settings: Evaluate,
    *,
    ckpt: Path,
    seed: int,
    out: Path,
    stats: Path,
    pairs: Path | None = None,
    prompts: Path | None = None,
    images: tuple[Path, ...] | None = None,
    threads: int = 1,
) -> None:
    """One row a (sampler, prompt, sample, unit), and the metrics that are not a row per image."""
    prepare(threads)
    policy = load_judged(ckpt)
    parse_samplers(settings.samplers, policy.images)
    learned = _learned(pairs, prompts, images) if pairs and prompts and images else None
    tests = exam.prompts(settings.prompts)
    asked = ask(policy, [t.prompt for t in tests])
    say_silent(asked, "evaluate")
    metrics = _coverage(tests, asked) + _looking(policy) + _writing(policy, seed)
    for how, distances in feature_ranges(policy, tests, prompts, images).items():
        metrics += _mean_by("feature_range", how, distances)
    columns: dict[str, list] = {name: [] for name in EVAL.columns}
    for sampler in settings.samplers:
        metrics += _drawing(policy, settings, sampler, seed, tests, asked, columns)
    if learned:
        metrics += _pairing(policy, learned)
    write_table(out, columns, EVAL)
    write_json(stats, EvalStats(tuple(metrics)))


def _mean_by(metric: str, sampler: str, values: dict[str, list[float]]) -> list[Metric]:
    """One Metric a sub-category that has values."""
    return [Metric(metric, sampler, name, float(np.mean(v)), len(v)) for name, v in sorted(values.items()) if v]


def _coverage(tests: list[exam.EvalPrompt], asked: list) -> list[Metric]:
    shares = defaultdict(list)
    for test, questions in zip(tests, asked, strict=True):
        shares[test.subcategory].append(coverage(test.prompt, questions) or 0.0)
    return _mean_by("question_coverage", "greedy", shares)


def _looking(policy: VisualTokens) -> list[Metric]:
    """VQA accuracy on rendered held-out scenes, each unit once where it holds and once where it does not."""
    from silmm.shapeworld.render import render

    sights = exam.sights(SIGHTS)
    answers = policy.look(list(render([s.scene for s in sights])), [[write_question(s.unit)] for s in sights])
    right = defaultdict(list)
    for sight, probs in zip(sights, answers, strict=True):
        right[sight.subcategory].append(float((probs[0, 0] > probs[0, 1]) == sight.holds))
    return _mean_by("vqa_accuracy", "greedy", right)


def _writing(policy: VisualTokens, seed: int) -> list[Metric]:
    """Share of self-written prompts that are in the language and of the sub-category (held-out ones count as valid)."""
    names = [SUBCATEGORIES[i % len(SUBCATEGORIES)] for i in range(WRITTEN)]
    texts = policy.write(names, [(seed, "evaluate", "write", i) for i in range(WRITTEN)], temperature=1.0)
    valid = defaultdict(list)
    for name, text in zip(names, texts, strict=True):
        valid[name].append(float(exam.refusal(text, name) in (None, "held_out")))
    return _mean_by("prompt_valid", "t1.0", valid)


def _drawing(
    policy: VisualTokens,
    settings: Evaluate,
    sampler: str,
    seed: int,
    tests: list[exam.EvalPrompt],
    asked: list,
    columns: dict[str, list],
) -> list[Metric]:
    """Draw, judge and self-score all tests with one sampler; appends to `columns`."""
    sampling = parse_sampler(sampler, policy.images)
    draws = settings.n * settings.best_of
    own: dict[str, list[float]] = defaultdict(list)
    spread: dict[str, list[float]] = defaultdict(list)
    for start in progress(range(0, len(tests), BLOCK), f"evaluate {sampler}"):
        block = tests[start : start + BLOCK]
        keys = [[(seed, "evaluate", sampler, t.id, k) for k in range(draws)] for t in block]
        tokens = tokens_of(policy.draw([t.prompt for t in block], keys, sampling))
        tokens, scores = _keep_best(policy, settings, tokens, asked[start : start + BLOCK])
        for test, values, rows in zip(block, scores, tokens, strict=True):
            own[test.subcategory] += [v for v in values if v is not None]
            if len(rows) > 1:
                spread[test.subcategory].append(float(np.mean(rows[0] != rows[1:])))
        _judge(policy, sampler, block, tokens, columns)
    return _mean_by("self_score", sampler, own) + _mean_by("diversity", sampler, spread)


def _keep_best(
    policy: VisualTokens, settings: Evaluate, tokens_PNL: np.ndarray, asked: list
) -> tuple[np.ndarray, list[list[float | None]]]:
    """The best of each `best_of` draws by the policy's own score, and the scores; None where it asked nothing."""
    p, draws, length = tokens_PNL.shape
    scores = own_scores(policy, tokens_PNL.reshape(-1, length), [rows for rows in asked for _ in range(draws)])
    ranked = np.array([-np.inf if s is None else s for s in scores]).reshape(p, settings.n, settings.best_of)
    best = ranked.argmax(-1) + settings.best_of * np.arange(settings.n)
    kept = np.take_along_axis(tokens_PNL, best[..., None], 1)
    return kept, [[scores[i * draws + k] for k in row] for i, row in enumerate(best)]


def _judge(
    policy: VisualTokens, sampler: str, block: list[exam.EvalPrompt], tokens: np.ndarray, columns: dict[str, list]
) -> None:
    """The oracle's and the policy's verdict on every unit of every picture."""
    n = tokens.shape[1]
    flat = tokens.reshape(len(block) * n, -1)
    scenes = read(policy.render(flat))
    claims = [units(t.spec) for t in block for _ in range(n)]
    answers = policy.answer(flat, [[write_question(u) for u in rows] for rows in claims])
    for i, (scene, rows, probs) in enumerate(zip(scenes, claims, answers, strict=True)):
        test = block[i // n]
        objects = len(scene.objects) if scene else 0
        for unit, (p_yes, p_no) in zip(rows, probs, strict=True):
            row = (sampler, test.id, test.subcategory, i % n, unit.key(), unit.kind, judge(unit, scene),
                   float(p_yes), float(p_no), scene is None, objects)  # fmt: skip
            for name, value in zip(columns, row, strict=True):
                columns[name].append(value)


class Learned(NamedTuple):
    """What the policy learned from: its pairs, their prompts by id, and the visual tokens of their samples."""

    rows: list[dict[str, Any]]
    text: dict[str, Prompt]
    needed: list[Key]
    tokens: dict[Key, np.ndarray]


def _learned(pairs: Path, prompts: Path, images: tuple[Path, ...]) -> Learned:
    """Read before anything is drawn: a damaged file is said at once. Raises RecordError."""
    text = {row.id: row for row in read_jsonl(prompts, Prompt)}
    tokens = read_tokens(images)
    rows = read_table(pairs, PAIRS).to_pylist()
    needed = sorted({(r["prompt_id"], r[side]) for r in rows for side in ("chosen", "rejected")})
    check_samples(pairs, needed, prompts=prompts, known=text, images=images, drawn=tokens)
    return Learned(rows, text, needed, {key: tokens[key] for key in needed})


def _pairing(policy: VisualTokens, learned: Learned) -> list[Metric]:
    """What the oracle says of this iteration's pairs, by the share of units that hold on each side: `pair_accuracy`, of
    the pairs that it decides the share in which it prefers the chosen picture; and `pair_ties`, the share of all pairs
    in which both sides hold equally. A sub-category in which all pairs are ties has no accuracy."""
    rows, text, needed, tokens = learned
    found = iter(read(policy.render(np.concatenate([tokens[key] for key in needed]))))
    scenes = {key: list(itertools.islice(found, len(tokens[key]))) for key in needed}

    def held(prompt_id: str, sample: int) -> float:
        spec = parse_prompt(text[prompt_id].prompt)
        return float(np.mean([judge(u, s) for s in scenes[prompt_id, sample] for u in units(spec)])) if spec else 0.0

    right, ties = defaultdict(list), defaultdict(list)
    for row in rows:
        chosen, rejected = (held(row["prompt_id"], row[side]) for side in ("chosen", "rejected"))
        subcategory = text[row["prompt_id"]].subcategory
        ties[subcategory].append(float(chosen == rejected))
        if chosen != rejected:
            right[subcategory].append(float(chosen > rejected))
    return _mean_by("pair_accuracy", "step2", right) + _mean_by("pair_ties", "step2", ties)
