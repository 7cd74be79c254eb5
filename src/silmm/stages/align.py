"""Step 5: align the policy to its own preferences (paper section 3.4); the result is the next policy and reference."""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from silmm import gpus
from silmm import lmm as models
from silmm.align import state as states
from silmm.align import trainer
from silmm.align.curves import curves
from silmm.align.learning import begin
from silmm.align.objectives import FeatureReference, Preferences, reference_of, spread_of
from silmm.align.parts import Kept
from silmm.align.team import ALONE, Place, meet
from silmm.records import PAIRS, Prompt, PromptQuestions, RecordError, atomic_dir, read_jsonl, read_table, write_json
from silmm.settings import Align, shaping
from silmm.sources import source_hash
from silmm.stages.representations import Key, check_samples, read_features, read_pooled, read_tokens
from silmm.stages.runtime import prepare
from silmm.stages.worlds import WORLDS

SAVE_EVERY = 20  # steps, or sooner by the clock


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
        drawn = {key: tokens[0] for key, tokens in read_tokens(images, set(needed)).items()}
    elif world == "shapeworld":
        drawn = read_features(images, set(needed))
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


def run(settings: Align, *, ckpt: Path, processes: int = 1, **given: Any) -> None:
    """`align`, by so many processes on this machine: one a GPU where the LMM takes one (docs/many_gpus.md)."""
    if processes <= 1:
        align(settings, ckpt=ckpt, **given)
        return
    from silmm.align.launch import together

    files: tuple[int, ...] = ()
    if models.on_a_gpu(ckpt):
        files = gpus.lease(processes)
        os.environ[gpus.SHARE] = "share"  # what is leased here is theirs
    work = partial(_member, settings, {"ckpt": ckpt, **given})
    together(work, processes, files=files, timeout=settings.timeout)


def _member(settings: Align, given: dict[str, Any], place: Place) -> None:
    align(settings, place=place, **given)


def align(
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
    tensorboard: Path | None = None,
    threads: int = 1,
    place: Place | None = None,
) -> None:
    """Train, keeping resumable state in `state`; write the checkpoint, `training.jsonl` (metrics of every step) and,
    for a continuous LMM, `align.stats.json` (the pairs' spread and gamma). `place`: among several processes."""
    prepare(threads)
    policy = models.load(ckpt)
    team = ALONE if place is None else meet(*place, policy.parameters()[0].device)
    data = load_preferences(pairs, prompts, qa, images, policy.images, policy.world, settings.pooling)
    key = (seed, "align", iteration)
    mark = states.fingerprint(
        {
            **shaping(settings),
            "key": key,
            "threads": threads,
            "sources": source_hash("stages.align", models.name_of(ckpt)),
        },
        [ckpt],
        data,
    )
    kept = Kept(state, mark)
    reference = reference_of(policy, data, settings, team, kept)
    spread = None
    if isinstance(reference, FeatureReference):
        spread = spread_of(reference)
        if team.leads:
            print(f"align: gamma {spread.gamma:.3g}, mean k(chosen, rejected) {spread.spread:.3g}", file=sys.stderr)
    learning = begin(policy, data, reference, settings, team, states.load(state, mark))
    steps = trainer.steps_of(settings, len(data.prompts))
    saver = states.Saver(state, mark, SAVE_EVERY)
    bar = tqdm(total=steps, initial=learning.start, desc="align", mininterval=5, disable=not team.leads)

    with curves(tensorboard if team.leads else None, learning.log) as draw:

        def after_step(step: int, metrics: dict[str, float]) -> None:
            learning.log.append({"step": step, **metrics})
            draw(step, metrics)
            bar.update()
            if step + 1 < steps and team.agreed(saver.due()):
                kept = learning.state()
                if team.leads:
                    saver.save(step + 1, kept)
                    team.beat()

        trainer.train(
            policy, data, reference, settings, key=key, start=learning.start, optimizer=learning.optimizer,
            after_step=after_step, together=learning.together,
        )  # fmt: skip
    bar.close()
    learning.end()
    if not team.leads:
        return
    with atomic_dir(out, "silmm align") as folder:
        policy.save(folder)
        lines = [json.dumps(row) + "\n" for row in learning.log]
        (folder / "training.jsonl").write_text("".join(lines), encoding="utf-8")
        if spread:
            write_json(folder / "align.stats.json", spread)
    kept.remove()
    states.clear(state)
