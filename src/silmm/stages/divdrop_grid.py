"""How DivDrop's settings are chosen: its rate and number of layers on a grid, on the base, judged by the oracle.

The counterpart of the paper's Figure 6 (best of ten by rate). Every cell of the grid draws the same samples of the same
held-out prompts, with one decoder noise a prompt: masks of one name are nested (what a rate drops, every higher rate
drops too), so that cells differ by rate and layers alone. What makes a good setting for step 2 is not the best single
picture but samples among which the policy's own score finds one that is better than what it draws without dropout.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from silmm.errors import InputError
from silmm.kernels.features import distance, pool
from silmm.lmm.interface import ContinuousImages, Sampling, VisualTokens
from silmm.lmm.sampler import NOISE_WORDS, sampling_of
from silmm.report import divdrop_grid as figure
from silmm.report import stats
from silmm.settings import Images
from silmm.shapeworld import exam
from silmm.shapeworld.language import CORE, SUBCATEGORIES
from silmm.stages.own_score import ask, own_scores, say_silent
from silmm.stages.pictures import tokens_of
from silmm.stages.runtime import prepare, progress
from silmm.stages.verdicts import verdicts
from silmm.stages.worlds import load_judged

RATES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7)
PROMPTS = 16  # of each sub-category
Known = dict[tuple[str, bytes], tuple[bool, bool, float]]  # what is known of a prompt's picture; see `_judged`


def run(settings: Images, *, ckpt: Path, seed: int, out: Path, threads: int = 1) -> None:
    """Measure the grid on one policy, and write `out`.csv with a row a cell, `out`.png and `out`.pdf.

    Args:
        settings: as step 2 would draw, with `n` samples a prompt. Its rate joins the grid, and its rate and layers are
            marked in the figure.
        out: a suffix is dropped.

    Raises:
        InputError: a discrete LMM, or settings that do not fit this one.
    """
    prepare(threads)
    policy = load_judged(ckpt)
    if not isinstance(policy, ContinuousImages):
        raise InputError(f"{ckpt}: its images are {policy.images}: DivDrop is for a continuous LMM")
    tests = exam.prompts(PROMPTS * len(SUBCATEGORIES))
    chosen = sampling_of(settings)._replace(noises=1)  # one picture a sample
    try:
        rows = measure(policy, tests, _cells(chosen, policy.layers), seed, settings.n)
    except ValueError as error:
        raise InputError(f"{ckpt}: {error}") from None
    lines = (
        f"DivDrop's rate and layers: {policy.images} LMM, seed {seed}",
        f"{settings.n} samples of each of {rows[0]['prompts']} held-out prompts (core), {NOISE_WORDS[chosen.noise]};"
        + " masks at "
        + ("the queries" if chosen.positions == "queries" else "all positions")
        + f", site {chosen.site}",
    )
    figure.run(rows, out, lines, chosen=(chosen.rate, chosen.layers))


def measure(
    policy: VisualTokens, tests: Sequence[exam.EvalPrompt], cells: Sequence[Sampling], seed: int, n: int
) -> list[dict[str, Any]]:
    """A row a cell, of n samples a prompt; ValueError for a cell that does not fit the policy."""
    prompts = [t.prompt for t in tests]
    asked = ask(policy, prompts)
    say_silent(asked, "divdrop-grid")
    keys = [[(seed, "divdrop", t.id, k) for k in range(n)] for t in tests]
    rows, known = [], Known()
    for cell in progress(cells, "divdrop-grid"):
        drawn = policy.draw(prompts, keys, cell)
        assert drawn.feats_PNQD is not None
        judged_PN3 = _judged(policy, tests, asked, tokens_of(drawn), known)
        rows.append(_row(cell, tests, judged_PN3, spread(drawn.feats_PNQD)))
    return rows


def _cells(chosen: Sampling, layers: int) -> list[Sampling]:
    """No dropout, with the same decoder noise and with free noise, and the grid."""
    plain = chosen._replace(rate=0.0, layers=0)
    rates = sorted({*RATES, chosen.rate} - {0.0})
    grid = [chosen._replace(rate=rate, layers=k) for k in range(1, layers + 1) for rate in rates]
    return [plain, plain._replace(noise="free"), *grid]


def spread(feats_PNQD: np.ndarray) -> np.ndarray:
    """How far a prompt's samples are apart, `[P]`: the mean cosine distance of its pairs, position by position."""
    feats = torch.from_numpy(feats_PNQD)
    one, other = torch.triu_indices(feats.shape[1], feats.shape[1], 1)
    between = [distance(pool(f[one], "query"), pool(f[other], "query"), "cosine").mean() for f in feats]
    return torch.stack(between).numpy()


def _judged(
    policy: VisualTokens, tests: Sequence[exam.EvalPrompt], asked: list, tokens_PNL: np.ndarray, known: Known
) -> np.ndarray:
    """Whether the whole prompt holds, whether it is malformed, and the policy's own score (nan where it asked nothing)
    of each picture, `[P, N, 3]`.

    Cells share most of their pictures: each is looked at once, and kept in `known` by prompt and tokens.
    """
    found = {(t.id, codes.tobytes()): (i, codes) for i, t in enumerate(tests) for codes in tokens_PNL[i]}
    new = [name for name in found if name not in known]
    if new:
        at, codes = zip(*(found[name] for name in new), strict=True)
        seen = verdicts(policy, [tests[i].spec for i in at], np.stack(codes))
        scores = own_scores(policy, np.stack(codes), [asked[i] for i in at])
        for name, whole, malformed, score in zip(new, seen.whole_N, seen.malformed_N, scores, strict=True):
            known[name] = whole, malformed, np.nan if score is None else score
    return np.array(
        [[known[t.id, codes.tobytes()] for codes in rows] for t, rows in zip(tests, tokens_PNL, strict=True)]
    )


def _row(
    cell: Sampling, tests: Sequence[exam.EvalPrompt], judged_PN3: np.ndarray, spread_P: np.ndarray
) -> dict[str, Any]:
    """One row of the table: means over the sub-categories of `core` with 95 % intervals over prompts, and of each group
    how good one sample is, the best of n by own score, and the best of n runs over all prompts (run k has sample k of
    every prompt), which the paper's numbers in Figure 6 may be: one of them is the maximum of a box in its Figure 5."""
    whole_PN, malformed_PN, score_PN = np.moveaxis(judged_PN3, 2, 0)
    best_P = np.where(np.isnan(score_PN), -np.inf, score_PN).argmax(1)
    by_prompt = {
        "spread": spread_P,
        "oracle_prompt": whole_PN.mean(1),
        "best_of_n": np.take_along_axis(whole_PN, best_P[:, None], 1)[:, 0],
        "best_of_n_oracle": whole_PN.max(1),
        "malformed": malformed_PN.mean(1),
        "score_sd": (score_PN - score_PN[:, :1]).std(1, ddof=1),
    }
    row = {name: getattr(cell, name) for name in ("rate", "layers", "site", "positions", "noise")}
    row |= {"samples": whole_PN.shape[1], "prompts": sum(t.subcategory in CORE for t in tests)}
    for name, values_P in by_prompt.items():
        row |= _columns(name, _over(tests, values_P, CORE), name in figure.WITH_INTERVAL)
    for group, names in figure.GROUPS.items():
        row[f"prompts_{group}"] = sum(t.subcategory in names for t in tests)
        for name in ("oracle_prompt", "best_of_n"):
            row |= _columns(f"{name}_{group}", _over(tests, by_prompt[name], names), name == "best_of_n")
        row[f"best_run_{group}"] = max(_over(tests, run_P, names).value for run_P in whole_PN.T)
    return row


def _columns(name: str, measured: stats.Measured, with_interval: bool) -> dict[str, float]:
    found = {name: measured.value}
    if with_interval:
        found[f"{name}_low"], found[f"{name}_high"] = stats.percentile_interval(measured.draws_R)
    return found


def _over(tests: Sequence[exam.EvalPrompt], values_P: np.ndarray, names: Sequence[str]) -> stats.Measured:
    """The mean over these sub-categories of a number a prompt, where there is one; nan if one of them has none."""
    strata = []
    for name in names:
        mine = [i for i, t in enumerate(tests) if t.subcategory == name]
        values = values_P[mine]
        there = ~np.isnan(values)
        ids = tuple(tests[i].id for i in mine)
        if there.any():
            strata.append(stats.measure(ids, np.nan_to_num(values), there, stratum=name))
        else:
            strata.append(stats.Measured(ids, np.nan, 0, np.full(stats.RESAMPLES, np.nan)))
    return stats.mean_of(strata)
