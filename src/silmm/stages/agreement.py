"""How far the judges of a benchmark agree with people, next to the metrics that the annotations bring with them."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from silmm.atomic import atomic_file
from silmm.benchmarks.agreement import MEASURES, agreement
from silmm.benchmarks.human_scores import MODELS, Picture, Rated, read_human_scores
from silmm.benchmarks.scores import listed
from silmm.csv_files import to_csv
from silmm.errors import InputError
from silmm.records import BENCHMARK, read_table
from silmm.typed_json import one_of, short

COLUMNS = ("people", "scores", "judge", "measure", "value", "ci_low", "ci_high", "pictures", "prompts")
OWN = ("official", "corrected", "p")  # of a benchmark's rows: means over the questions of a picture


class Scored(NamedTuple):
    """What is compared with people."""

    name: str
    judge: str
    values: Mapping[Picture, float]


def run(*, humans: tuple[Path, ...], rows: Mapping[str, Path], out: Path) -> None:
    """Write a CSV (COLUMNS) of the correlations, and print it as a table.

    humans: TIFA's and DSG's annotations, one of them or both; then each one's people are compared with the other's too.
    rows: by model (of human_scores.MODELS) the folder that `silmm benchmark tifa` or `dsg_1k` wrote for its pictures;
    all that is compared is then compared on these pictures. Without any, our judges stay unmeasured.
    Raises InputError for folders that lack rated pictures, or of different judges or benchmarks.
    """
    rated = [read_human_scores(file) for file in humans]
    if len({one.name for one in rated}) < len(rated):
        raise InputError(f"{humans[-1]}: the same annotations as in another file: give each once")
    ours = _own(rows, rated)
    pictures = set(ours[0].values) if ours else {picture for one in rated for picture in one.human}
    metrics = [Scored(name, "published", values) for one in rated for name, values in one.metrics.items()]
    lines = []
    for one in rated:
        others = [Scored(f"people of {other.name}", "", other.human) for other in rated if other is not one]
        for scored in (*ours, *others, *metrics):
            lines += _lines(one, scored, pictures)
    _write(out, lines)
    print(_table(lines))
    if not ours:
        print("agreement: no --rows: the judges here are unmeasured; the numbers are the published metrics' own")


def _lines(rated: Rated, scored: Scored, pictures: set[Picture]) -> list[tuple[object, ...]]:
    both = sorted(picture for picture in rated.human if picture in pictures)
    if lost := [f"{p.prompt}_{p.model}" for p in both if p not in scored.values]:
        raise InputError(
            f"{scored.name}: no score of {len(lost)} pictures that the people of {rated.name} rate ({listed(lost)})"
        )
    if not both:
        raise InputError(f"{scored.name}: no picture that the people of {rated.name} rate: leave their file out")
    prompts = [picture.prompt for picture in both]
    found = agreement([scored.values[p] for p in both], [rated.human[p] for p in both], prompts)
    head = (rated.name, scored.name, scored.judge)
    return [(*head, *one, len(both), len(set(prompts))) for one in found]


def _own(rows: Mapping[str, Path], rated: Sequence[Rated]) -> list[Scored]:
    """The scores of our runs; none where there is no run."""
    values: dict[str, dict[Picture, float]] = {name: {} for name in OWN}
    judges = {}
    names = {tifa: dsg for one in rated for tifa, dsg in one.dsg_ids.items()}
    for model, folder in rows.items():
        if model not in MODELS:
            raise InputError(f"--rows {model}=..: no model of the annotated pictures: {one_of(MODELS)}")
        wanted = sorted({p.prompt for one in rated for p in one.human if p.model == model})
        means = _means(folder / "rows.parquet")
        for prompt in wanted:
            own = means.get(prompt) or means.get(names.get(prompt, ""))
            for name, value in (own or {}).items():
                values[name][Picture(prompt, model)] = value
        lost = [p for p in wanted if Picture(p, model) not in values["official"]]
        if lost:
            raise InputError(
                f"{folder}: {len(lost)} of {len(wanted)} rated prompts have no score ({listed(lost)}): judge all"
                " pictures of the annotations (for dsg_1k, give DSG's file too)"
            )
        judges[model] = _judge(folder / "run.json")
    if len(set(judges.values())) > 1:
        raise InputError(
            f"--rows: different benchmarks or judges ({listed(sorted(set(judges.values())), 2)}): one each"
        )
    judge = next(iter(judges.values()), "")
    return [Scored(name, judge, own) for name, own in values.items() if own and len(own) == len(values["official"])]


def _means(file: Path) -> dict[str, dict[str, float]]:
    """By item and score, the mean over questions that have one."""
    table = read_table(file, BENCHMARK).select(["item_id", *OWN]).to_pylist()
    by_item: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in table:
        for name in OWN:
            if row[name] is not None:
                by_item[row["item_id"]][name].append(row[name])
    return {item: {name: math.fsum(own) / len(own) for name, own in found.items()} for item, found in by_item.items()}


def _judge(file: Path) -> str:
    """Benchmark and judges of a run, as one text."""
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        judges = "; ".join(f"{j['role']}: {j['model']} {j['source']} {j['revision'][:19]}" for j in said["judges"])
        return f"{said['benchmark']}; {judges}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{file}: not what `silmm benchmark` writes ({short(error)}): give its folder") from None


def _write(out: Path, lines: Sequence[tuple[object, ...]]) -> None:
    with atomic_file(out, COLUMNS) as temporary:
        temporary.write_text(to_csv(COLUMNS, lines, ".4f"), encoding="utf-8")


def _table(lines: Sequence[tuple[object, ...]]) -> str:
    """A line a score, its measures side by side."""
    by_score: dict[tuple[object, ...], list[str]] = defaultdict(list)
    for people, name, _, _, value, low, high, *counts in lines:
        by_score[people, name, *counts].append(f"{value:z.3f} ({low:z.3f} to {high:z.3f})")
    text = [f"{'people':8}{'scores':22}" + "".join(f"{measure:25}" for measure in MEASURES) + "pictures"]
    for (people, name, pictures, _), cells in by_score.items():
        text.append(f"{people!s:8}{name!s:22}" + "".join(f"{cell:25}" for cell in cells) + str(pictures))
    return "\n".join(text)
