"""The numbers of figure_audit: what the oracle says of answers, pairs and scores of each iteration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from common import SAMPLER

from silmm.errors import InputError
from silmm.records import AUDIT, PAIRS, read_table
from silmm.report import stats
from silmm.report.summarize import oracle_metrics, stats_metrics

BINS = np.linspace(0, 1, 11)
GAPS = (0.0, 0.25, 0.5, 0.75, 1.0, 2.0)
KINDS = ("exist", "count", "relation", "total")


def of_run(lmm: str, folders: Sequence[Path]) -> pd.DataFrame:
    """All rows of one LMM: part, lmm, iteration, label, x, value, low, high, n, aside,
    ceiling.

    Args:
        folders: of the base (eval.parquet, eval.stats.json), and of each iteration in order (audit.parquet and
            pairs.parquet, too).

    A row's part says what it is: `calibration` (a bin: x its mean confidence in yes, value the oracle's share of yes),
    `ece` (an iteration), `kind` (value: accuracy; aside: that of the commoner answer; ceiling), `pairs` (a bin of score
    gaps: x its mean gap, n pairs; value: of those that the oracle decides, it prefers the chosen one; aside: the share
    of ties, which it finds alike), `held_out` and `step_2`
    (a policy: x its own score, value the oracle's share of units that hold).
    """
    rows: list[dict[str, Any]] = []
    for t, folder in enumerate(folders):
        if t:
            audit = read_table(folder / "audit.parquet", AUDIT).to_pandas()
            found = [*calibration(audit), *kinds(audit), *pairs(audit, folder / "pairs.parquet"), step_2(audit)]
            rows += [{"iteration": t, **row} for row in found]
        rows.append({"iteration": t, **held_out(lmm, folder)})
    return pd.DataFrame([{"lmm": lmm, **row} for row in rows])


def calibration(audit: pd.DataFrame) -> list[dict[str, Any]]:
    """Confidence in yes, p_yes / (p_yes + p_no), against the oracle's share of yes, in ten bins; and the expected
    calibration error, the mean distance of the two over all answers."""
    confidence = (audit.p_yes.astype(float) / (audit.p_yes.astype(float) + audit.p_no)).to_numpy()
    place = np.clip(np.digitize(confidence, BINS) - 1, 0, len(BINS) - 2)
    rows, error = [], 0.0
    for b in range(len(BINS) - 1):
        mine = place == b
        if mine.any():
            x, value = confidence[mine].mean(), audit.oracle[mine].mean()
            error += abs(x - value) * mine.sum()
            rows.append({"part": "calibration", "label": f"{BINS[b]:.1f}-{BINS[b + 1]:.1f}", "x": x, "value": value,
                         "n": int(mine.sum())})  # fmt: skip
    return [*rows, {"part": "ece", "value": error / len(audit), "n": len(audit)}]


def kinds(audit: pd.DataFrame) -> list[dict[str, Any]]:
    """How often an answer is right, by kind of question. A sample of several pictures has one answer, the mean of
    theirs, which is right for a share of them: so even the best answer has a ceiling below 1."""
    right = np.where(audit.p_yes > audit.p_no, audit.oracle, 1 - audit.oracle)
    rows = []
    for kind in KINDS:
        mine = (audit.kind == kind).to_numpy()
        if mine.any():
            share = audit.oracle[mine]
            rows.append({"part": "kind", "label": kind, "aside": max(share.mean(), 1 - share.mean()),
                         "ceiling": np.maximum(share, 1 - share).mean(),
                         **_measured(audit.prompt_id[mine], right[mine], kind)})  # fmt: skip
    return rows


def pairs(audit: pd.DataFrame, path: Path) -> list[dict[str, Any]]:
    """How often the oracle, too, gives the chosen sample more of the prompt's units, by the gap of scores. Ties are a
    third outcome: a value is of the pairs that it decides, nan where there is none."""
    table = read_table(path, PAIRS).to_pandas()
    held = audit.groupby(["prompt_id", "sample"]).held.first()
    sides = [pd.MultiIndex.from_frame(table[["prompt_id", side]]) for side in ("chosen", "rejected")]
    if lost := [key for side in sides for key in side if key not in held.index]:
        raise InputError(
            f"{path}: sample {lost[0][1]} of prompt {lost[0][0]} is not in audit.parquet beside it; re-run silmm audit"
        )
    better = held.loc[sides[0]].to_numpy() - held.loc[sides[1]].to_numpy()
    gap = (table.score_chosen - table.score_rejected).to_numpy()
    place = np.clip(np.digitize(gap, GAPS) - 1, 0, len(GAPS) - 2)
    rows = []
    for b in range(len(GAPS) - 1):
        mine = place == b
        if mine.any():
            decided = mine & (better != 0)
            found = _measured(table.prompt_id[decided], better[decided] > 0, f"gap {b}") if decided.any() else {}
            counts = {"x": gap[mine].mean(), "aside": (better[mine] == 0).mean(), "n": int(mine.sum())}
            rows.append({"part": "pairs", "label": f"{GAPS[b]:g}-{GAPS[b + 1]:g}", "value": np.nan, **found, **counts})
    return rows


def step_2(audit: pd.DataFrame) -> dict[str, Any]:
    """The mean own score of the samples that were drawn for training, and the oracle's share of units."""
    sign = np.where(audit.expected == "yes", 1.0, -1.0)
    difference = sign * (audit.p_yes.astype(float) - audit.p_no)
    samples = (
        audit.assign(own=difference).groupby(["prompt_id", "sample"]).agg(own=("own", "mean"), held=("held", "first"))
    )
    return {"part": "step_2", "x": samples.own.mean(), "value": samples.held.mean(), "n": len(samples)}


def held_out(lmm: str, folder: Path) -> dict[str, Any]:
    """The same on the evaluation's prompts, with the default sampler, mean of the sub-categories."""
    what = SAMPLER[lmm], "all"
    oracle = oracle_metrics(folder / "eval.parquet").get((*what, "oracle_question"))
    own = stats_metrics(folder / "eval.stats.json").get((*what, "self_score"))
    if oracle is None or own is None:
        raise InputError(f"{folder}/eval.stats.json: no own score or no pictures with {what[0]}; re-run silmm evaluate")
    low, high = stats.percentile_interval(oracle.draws_R)
    return {"part": "held_out", "x": own[0], "value": oracle.value, "low": low, "high": high, "n": own[1]}


def _measured(prompt_ids: pd.Series, values: np.ndarray, stratum: str) -> dict[str, Any]:
    found = stats.measure(prompt_ids.to_list(), values, np.ones(len(values)), stratum)
    low, high = stats.percentile_interval(found.draws_R)
    return {"value": found.value, "low": low, "high": high, "n": found.n}
