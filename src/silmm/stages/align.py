"""Step 5: align the policy to its own preferences (paper section 3.4); the result is the next policy and reference."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from silmm import lmm as models
from silmm.align import state as states
from silmm.align import trainer
from silmm.align.objectives import FeatureReference, Preferences, reference_of, spread_of
from silmm.records import PAIRS, Prompt, PromptQuestions, RecordError, atomic_dir, read_jsonl, read_table, write_json
from silmm.settings import Align
from silmm.sources import source_hash
from silmm.stages.representations import Key, check_samples, read_features, read_pooled, read_tokens
from silmm.stages.runtime import prepare
from silmm.stages.worlds import WORLDS

SAVE_EVERY = 20  # steps


def load_preferences(
    pairs: Path, prompts: Path, qa: Path, images: tuple[Path, ...], kind: str = "discrete", world: str = "shapeworld",
    pooling: str = "avg",
) -> Preferences:  # fmt: skip
    """Join pairs with prompts and representations (tokens, or features for the kind `continuous`) by id; the questions
    are the policy's own answers again, as its world words them. Features of the open world are pooled as they are read.

    Raises RecordError for a pair whose prompt or image is not there.
    """
    text = {row.id: row for row in read_jsonl(prompts, Prompt)}
    rows = read_table(pairs, PAIRS).to_pylist()
    needed = [(row["prompt_id"], row[side]) for row in rows for side in ("chosen", "rejected")]
    pooled = None
    drawn: dict[Key, Any]
    if kind != "continuous":
        drawn = {key: tokens[0] for key, tokens in read_tokens(images).items()}
    elif world == "shapeworld":
        drawn = read_features(images)
    else:
        drawn, pooled = read_pooled(images, set(needed), pooling)
    check_samples(pairs, needed, prompts=prompts, known=text, images=images, drawn=drawn)
    for row in rows:
        if not row["score_chosen"] > row["score_rejected"]:
            raise RecordError(f"{pairs}: prompt {row['prompt_id']}: chosen does not score higher than rejected")
    asked = [
        (text[r.prompt_id].prompt, WORLDS[world].answer_of(r))
        for r in read_jsonl(qa, PromptQuestions)
        if r.units and r.prompt_id in text  # without units, they are not the policy's own words
    ]
    return Preferences(
        [text[row["prompt_id"]].prompt for row in rows],
        np.stack([drawn[row["prompt_id"], row["chosen"]] for row in rows]),
        np.stack([drawn[row["prompt_id"], row["rejected"]] for row in rows]),
        trainer.own_texts([(row.subcategory, row.prompt) for row in text.values()], asked),
        pooled,
    )


def run(
    settings: Align,
    *,
    ckpt: Path,
    pairs: Path,
    prompts: Path,
    qa: Path,
    images: tuple[Path, ...],
    seed: int,
    iteration: int,
    out: Path,
    state: Path,
    threads: int = 1,
) -> None:
    """Train, keeping resumable state in `state`; write the checkpoint, `training.jsonl` (metrics of every step) and,
    for a continuous LMM, `align.stats.json` (the pairs' spread and gamma)."""
    prepare(threads)
    policy = models.load(ckpt)
    data = load_preferences(pairs, prompts, qa, images, policy.images, policy.world, settings.pooling)
    key = (seed, "align", iteration)
    mark = states.fingerprint(
        {**dataclasses.asdict(settings), "key": key, "threads": threads, "sources": source_hash("stages.align")},
        [ckpt, pairs, prompts, qa, *images],
    )
    reference = reference_of(policy, data, settings)
    spread = None
    if isinstance(reference, FeatureReference):
        spread = spread_of(reference)
        print(f"align: gamma {spread.gamma:.3g}, mean k(chosen, rejected) {spread.spread:.3g}", file=sys.stderr)
    optimizer = trainer.new_optimizer(policy, settings)
    start, log = _resume(state, mark, policy, optimizer)
    steps = trainer.steps_of(settings, len(data.prompts))
    bar = tqdm(total=steps, initial=start, desc="align", mininterval=5)

    def after_step(step: int, metrics: dict[str, float]) -> None:
        log.append({"step": step, **metrics})
        bar.update()
        if (step + 1) % SAVE_EVERY == 0 and step + 1 < steps:
            weights = [p.detach() for p in policy.parameters()]
            states.save(state, mark, step + 1, {"weights": weights, "optimizer": optimizer.state_dict(), "log": log})

    trainer.train(policy, data, reference, settings, key=key, start=start, optimizer=optimizer, after_step=after_step)
    bar.close()
    with atomic_dir(out) as folder:
        policy.save(folder)
        lines = [json.dumps(row) + "\n" for row in log]
        (folder / "training.jsonl").write_text("".join(lines), encoding="utf-8")
        if spread:
            write_json(folder / "align.stats.json", spread)
    states.clear(state)


def _resume(state: Path, mark: str, policy: models.LMM, optimizer: object) -> tuple[int, list[dict[str, float]]]:
    """The step to go on from and the log so far, with weights and optimizer state put back."""
    import torch

    found = states.load(state, mark)
    if found is None:
        return 0, []
    start, saved = found
    with torch.no_grad():
        for own, kept in zip(policy.parameters(), saved["weights"], strict=True):
            own.copy_(kept)
    optimizer.load_state_dict(saved["optimizer"])  # type: ignore[attr-defined]
    return start, saved["log"]
