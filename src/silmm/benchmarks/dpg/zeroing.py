"""Yes/no questions that presuppose others ("is the car red?": "is there a car?"): what an answer counts for.

yes: the answers by question, in the order of the official file. parents: the questions that each presupposes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def in_place(yes: Mapping[int, bool], parents: Mapping[int, Sequence[int]]) -> dict[int, float]:
    """DPG-Bench: from the first question to the last, one with a parent at 0 becomes 0 itself; so it goes on to those
    that come later, not to those that come before.

    Raises KeyError where a parent is reached that is no question, as the published code does
    (TencentQQGYLab/ELLA@3c228f1: dpg_bench/compute_dpg_bench.py, compute_dpg_one_sample).
    """
    scores = {question: float(answer) for question, answer in yes.items()}
    for question, needed in parents.items():
        if any(scores[parent] == 0 for parent in needed):
            scores[question] = 0.0
    return scores


def by_answers(yes: Mapping[int, bool], parents: Mapping[int, Sequence[int]]) -> dict[int, float]:
    """DSG: a question counts if its parents were answered yes, whether those count themselves or not.

    Raises KeyError as `in_place` does (j-min/DSG@7330119: dsg/vqa_utils.py, calc_vqa_score).
    """
    return {
        question: float(answer and not any(not yes[parent] for parent in parents.get(question, ())))
        for question, answer in yes.items()
    }


def by_ancestors(yes: Mapping[int, bool], parents: Mapping[int, Sequence[int]]) -> dict[int, float]:
    """A question counts if all that it presupposes, at any remove, was answered yes, in whatever order they stand.

    A parent that is no question presupposes nothing. Questions in a circle count if all of them were answered yes.
    """
    counts = dict(yes)
    while lost := [q for q in counts if counts[q] and any(not counts.get(p, True) for p in parents.get(q, ()))]:
        counts.update(dict.fromkeys(lost, False))
    return {question: float(answer) for question, answer in counts.items()}
