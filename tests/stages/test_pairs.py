"""Scores and pairs: a pair holds two samples of one prompt, in the right order, and nothing stale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from silmm.errors import InputError
from silmm.records import (
    PAIRS,
    SCORES,
    PairStats,
    PromptQuestions,
    Question,
    RecordError,
    read_json,
    read_table,
    write_jsonl,
    write_table,
)
from silmm.settings import Pairs
from silmm.stages.pairs import choose, drafts, run
from silmm.stages.scoring import answers_of, image_score

YES, NO = Question("q0", "is there a red circle ?"), Question("q1", "is there a blue square ?", "no")


def test_score_is_the_mean_of_expected_minus_other() -> None:
    answers = np.array([[0.9, 0.1], [0.3, 0.6]])
    assert image_score([YES, NO], answers) == pytest.approx((0.8 + 0.3) / 2)
    assert image_score([YES, YES], answers) == pytest.approx((0.8 - 0.3) / 2)


def test_unknown_expected_answer_and_no_questions_are_errors() -> None:
    with pytest.raises(ValueError, match="expected is 'three'"):
        image_score([Question("q0", "how many ?", "three")], np.array([[0.5, 0.5]]))
    with pytest.raises(ValueError, match="no question, so there is nothing to score"):
        image_score([], np.zeros((0, 2)))
    with pytest.raises(ValueError, match="scorer is 'mine': choose one of self, ratio, dependent"):
        image_score([YES], np.array([[0.9, 0.1]]), "mine")


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("product", [True, False])
def test_pairs_are_ordered_and_distinct(seed: int, product: bool) -> None:
    rng = np.random.default_rng(seed)
    scores = {int(k): round(float(v), 1) for k, v in enumerate(rng.uniform(-1, 1, rng.integers(1, 9)))}
    settings = Pairs(top_n=int(rng.integers(1, 4)), product=product, min_gap=float(rng.choice([0.0, 0.1, 0.5])))
    pairs, dropped = choose(scores, settings)
    assert len(pairs) + dropped.total() == len(drafts(scores, settings))
    assert len(set(pairs)) == len(pairs)
    for chosen, rejected in pairs:
        assert chosen != rejected and scores[chosen] - scores[rejected] > settings.min_gap
    if len(scores) > 1 and pairs:
        assert pairs[0] == (max(scores, key=lambda k: (scores[k], -k)), min(scores, key=lambda k: (scores[k], -k)))


def test_product_is_all_combinations() -> None:
    scores = {0: 0.9, 1: 0.7, 2: 0.0, 3: -0.5}
    assert choose(scores, Pairs(top_n=2, product=True))[0] == [(0, 3), (0, 2), (1, 3), (1, 2)]
    assert choose(scores, Pairs(top_n=2))[0] == [(0, 3), (1, 2)]


def files(tmp_path: Path, rows: list[tuple]) -> dict[str, Path]:
    prompts = sorted({r[0] for r in rows})
    write_jsonl(tmp_path / "qa.jsonl", [PromptQuestions(p, ("exist(red circle)",), (YES,)) for p in prompts])
    columns = dict(zip(SCORES.columns, (list(c) for c in zip(*rows, strict=True)), strict=True))
    write_table(tmp_path / "scores.parquet", columns, SCORES)
    paths = {"scores": "scores.parquet", "qa": "qa.jsonl", "out": "pairs.parquet", "stats": "pairs.stats.json"}
    return {name: tmp_path / file for name, file in paths.items()}


@pytest.mark.parametrize("scorer", ["self", "random"])
def test_a_prompt_without_a_gap_gives_no_pair(tmp_path: Path, scorer: str) -> None:
    """The stale-pair trap: a prompt that fails the filter must not repeat the last prompt's samples."""
    rows = [("p0", 0, "q0", 0.9, 0.1), ("p0", 1, "q0", 0.1, 0.9), ("p1", 0, "q0", 0.5, 0.5), ("p1", 1, "q0", 0.5, 0.5)]
    rows += [("p2", 4, "q0", 0.2, 0.8), ("p2", 7, "q0", 0.6, 0.4)]
    paths = files(tmp_path, rows)
    run(Pairs(scorer=scorer), **paths, images=(), seed=0, iteration=1)
    found = read_table(paths["out"], PAIRS).to_pylist()
    assert [r["prompt_id"] for r in found] == ["p0", "p2"]
    assert all(r["score_chosen"] > r["score_rejected"] for r in found)
    if scorer == "self":
        assert [(r["chosen"], r["rejected"]) for r in found] == [(0, 1), (7, 4)]


def test_random_scores_keep_the_gaps(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [
        (f"p{i:02d}", k, "q0", float(y), float(1 - y)) for i in range(40) for k, y in enumerate(rng.uniform(size=4))
    ]
    paths = files(tmp_path, rows)
    by_scorer = {}
    for scorer in ("self", "random"):
        run(Pairs(scorer=scorer), **paths, images=(), seed=0, iteration=1)
        by_scorer[scorer] = read_table(paths["out"], PAIRS).to_pylist()
    gaps = {s: sorted(r["score_chosen"] - r["score_rejected"] for r in rows) for s, rows in by_scorer.items()}
    np.testing.assert_allclose(gaps["self"], gaps["random"])
    same = [
        a == b
        for a, b in zip(*([(r["chosen"], r["rejected"]) for r in rows] for rows in by_scorer.values()), strict=True)
    ]
    assert np.mean(same) < 0.3


def test_a_missing_answer_is_an_error(tmp_path: Path) -> None:
    qa = [PromptQuestions("p0", (), (YES, NO))]
    table = dict(zip(SCORES.columns, (["p0"], [0], ["q0"], [0.9], [0.1]), strict=True))
    with pytest.raises(RecordError, match="sample 0 of prompt p0 do not match qa.jsonl"):
        answers_of(table, qa)


def test_no_pairs_at_all_is_an_error(tmp_path: Path) -> None:
    paths = files(tmp_path, [("p0", 0, "q0", 0.5, 0.5), ("p0", 1, "q0", 0.5, 0.5)])
    with pytest.raises(InputError, match="no two images of a prompt differ by more than pairs.min_gap = 0.1"):
        run(Pairs(), **paths, images=(), seed=0, iteration=1)


def test_without_any_answer_there_is_nothing_to_score(tmp_path: Path) -> None:
    paths = files(tmp_path, ROWS)
    write_table(paths["scores"], {name: [] for name in SCORES.columns}, SCORES)
    for scorer in ("self", "ratio", "random"):
        with pytest.raises(InputError, match="scores.parquet: no answer to any question, so there is nothing to score"):
            run(Pairs(scorer=scorer), **paths, images=(), seed=0, iteration=1)


def test_ratio_counts_the_questions_answered_as_expected() -> None:
    answers = np.array([[0.9, 0.1], [0.6, 0.3], [0.5, 0.5]])
    assert image_score([YES, NO, Question("q2", "is there a star ?")], answers, "ratio") == pytest.approx(1 / 3)


def test_a_child_counts_only_if_its_parents_hold() -> None:
    things = [Question("q0", "is there a red circle ?"), Question("q1", "is there a blue square ?")]
    relation = Question("q2", "is a red circle left of a blue square ?", parents=("q0", "q1"))
    seen = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    assert image_score([*things, relation], seen, "dependent") == image_score([*things, relation], seen)
    lost = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    assert image_score([*things, relation], lost, "dependent") == pytest.approx((0.8 - 0.6 - 1) / 3)


ROWS = [(f"p{i}", k, "q0", p, 1 - p) for i in range(4) for k, p in enumerate((0.9, 0.6, 0.4, 0.1))]


def paired(tmp_path: Path, settings: Pairs, rows: list[tuple] = ROWS) -> list[tuple]:
    paths = files(tmp_path, rows)
    run(settings, **paths, images=(), seed=0, iteration=1)
    found = read_table(paths["out"], PAIRS).to_pylist()
    return [(row["prompt_id"], row["chosen"], row["rejected"]) for row in found]


def test_pairs_of_the_first_prompts_alone(tmp_path: Path) -> None:
    everything = paired(tmp_path, Pairs(top_n=1))
    assert {p for p, *_ in everything} == {"p0", "p1", "p2", "p3"}
    assert paired(tmp_path, Pairs(top_n=1, prompts=2)) == [row for row in everything if row[0] in ("p0", "p1")]


def test_only_an_image_with_every_answer_yes_may_win(tmp_path: Path) -> None:
    assert ("p0", 1, 2) in paired(tmp_path, Pairs(top_n=2))
    doubtful = [(p, k, q, *((0.4, 0.6) if k == 1 else (yes, no))) for p, k, q, yes, no in ROWS]
    assert [row[1:] for row in paired(tmp_path, Pairs(top_n=2, winner="all_yes"), doubtful)] == [(0, 3)] * 4
    sad = [(p, k, q, yes / 2, 1 - yes / 2) for p, k, q, yes, _ in ROWS]
    with pytest.raises(InputError, match="with every answer yes for the better one"):
        paired(tmp_path, Pairs(top_n=2, winner="all_yes"), sad)


def test_a_spoiled_judge_swaps_that_share_of_answers(tmp_path: Path) -> None:
    rows = [(f"p{i:03d}", k, "q0", p, 1 - p) for i in range(400) for k, p in enumerate((0.9, 0.1))]
    right = [row[1:] == (0, 1) for row in paired(tmp_path, Pairs(top_n=1), rows)]
    assert len(right) == 400 and all(right)
    settings = Pairs(top_n=1, spoiled=0.3)
    spoiled = paired(tmp_path, settings, rows)
    assert spoiled == paired(tmp_path, settings, rows)
    # both right 0.49, both wrong 0.09, else a tie, which gives no pair
    assert len(spoiled) / 400 == pytest.approx(0.58, abs=0.07)
    assert np.mean([row[1:] == (0, 1) for row in spoiled]) == pytest.approx(0.49 / 0.58, abs=0.07)


def test_at_most_so_many_pairs_a_prompt(tmp_path: Path) -> None:
    everything = paired(tmp_path, Pairs(top_n=2, product=True))
    kept = paired(tmp_path, Pairs(top_n=2, product=True, keep=3))
    assert len(everything) == 16 and len(kept) == 12
    assert set(kept) < set(everything)
    assert len({row[1:] for row in set(everything) - set(kept)}) > 1, "the same pair is dropped of every prompt"
    assert paired(tmp_path, Pairs(top_n=2, product=True, keep=9)) == everything


def stats_of(tmp_path: Path) -> PairStats:
    return read_json(tmp_path / "pairs.stats.json", PairStats)


def test_what_becomes_of_every_draft_is_counted(tmp_path: Path) -> None:
    even = [("p4", k, "q0", 0.5, 0.5) for k in range(4)]  # two ties
    near = [("p5", k, "q0", p, 1 - p) for k, p in enumerate((0.52, 0.5, 0.5, 0.48))]  # a small gap, and a tie
    paired(tmp_path, Pairs(top_n=2), ROWS + even + near)
    none = {"unsure_winner": 0, "surplus": 0}
    assert stats_of(tmp_path) == PairStats(6, 0, 1, 4, 12, 8, {"tie": 3, "small_gap": 1, **none})
    paired(tmp_path, Pairs(top_n=2, product=True, keep=3, prompts=4), ROWS + even + near)
    assert stats_of(tmp_path) == PairStats(6, 2, 0, 4, 16, 12, {"tie": 0, "small_gap": 0, **none, "surplus": 4})


def test_a_winner_that_is_not_sure_is_counted(tmp_path: Path) -> None:
    doubtful = [(p, k, q, *((0.4, 0.6) if k == 1 else (yes, no))) for p, k, q, yes, no in ROWS]
    even = [("p9", k, "q0", 0.4, 0.6) for k in range(2)]  # a tie before all
    paired(tmp_path, Pairs(top_n=2, winner="all_yes", min_gap=0.0), doubtful + even)
    dropped = stats_of(tmp_path).dropped
    assert dropped["tie"] == 5 and sum(dropped.values()) + stats_of(tmp_path).kept == stats_of(tmp_path).drafts == 9
