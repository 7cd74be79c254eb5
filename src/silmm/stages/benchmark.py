"""Judge pictures of a public benchmark, whoever drew them, by its published arithmetic and by a corrected one."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from silmm import __version__
from silmm.align.state import fingerprint
from silmm.benchmarks import data_files, detectors, registry, scores
from silmm.benchmarks.checking import check
from silmm.benchmarks.choice import chosen, read_whole
from silmm.benchmarks.interface import Benchmark, Item, Row
from silmm.benchmarks.judges.interface import ROLES, Card, Judges
from silmm.benchmarks.looking import Seen, look_at
from silmm.benchmarks.pictures import DRAWN, find
from silmm.errors import InputError
from silmm.picture_reader import AS_STORED
from silmm.records import BENCHMARK, atomic_dir, write_json, write_table
from silmm.report.benchmark_table import STANDINGS, Line, standing, to_csv, to_markdown
from silmm.sources import source_hash
from silmm.stages.runtime import prepare


def run(
    *,
    name: str,
    data: Path,
    images: tuple[Path, ...],
    judge: Mapping[str, str],
    out: Path,
    only: tuple[str, ...] = (),
    first: int | None = None,
    state: Path | None = None,
    lmm: str | None = None,
    note: Mapping[str, str] | None = None,
    download: bool = False,
    threads: int = 1,
) -> None:
    """Write `rows.parquet` (a row a question and picture), `scores.csv`, `table.md`, `run.json` and the benchmark's own
    files into `out`, whole or not at all. What the judges saw is kept in `state` until then.

    judge: the source (folder, or hub id) of each role; where one is not given, the official one.
    only: categories; first: prompts of each category, for trying out.
    note: what else is to stand beside the numbers (guidance, sampler, prompt rewriting, ..).
    Raises InputError for what is missing, doubled, damaged or does not fit, with a list of it.
    """
    prepare(threads)
    benchmark = registry.get(name)
    data_files.require(benchmark, data, download)
    items = chosen(benchmark, read_whole(benchmark, data), only, first)
    notes = dict(benchmark.notes(items))
    files = find(images, AS_STORED._replace(upright=benchmark.upright))
    refs = benchmark.layout.locate(files, items)
    checked = check(benchmark, files, refs)
    print(*checked.lines, sep="\n", end="\n" if checked.lines else "")
    drawn = _drawn(images)
    judges = _judges(benchmark, items, judge)
    cards = [one.card for one in judges if one is not None]
    journal = _journal(benchmark, items, notes, cards, state or out.with_name(f"{out.name}.state"))
    seen = look_at(benchmark, judges, items, files, refs, journal)
    rows = benchmark.rows(items, seen.findings)
    tallies = benchmark.tallies(items, rows)
    left_out = scores.check(items, rows, tallies)
    label = lmm or str(drawn.get("lmm", "not named"))
    part = f", first {first} prompts of each category" if first else ""
    lines = _lines(benchmark, items, seen, scores.scores_of(benchmark, tallies), cards, label, part)
    about = {
        **_about(benchmark, items, cards, seen, only, first, left_out),
        "pictures read": checked.about,
        "notes": notes,
        **detectors.about(benchmark, items, seen.findings, judges),
        "data": data_files.hashes(benchmark, data),
        "pictures drawn": {"seeds": _seeds(items) if drawn else "not stated", **drawn, **(note or {})},
    }
    for warning in about.get("warnings", []):
        print(f"benchmark: warning: {warning}", file=sys.stderr)
    with atomic_dir(out, "silmm benchmark") as folder:
        _write(folder, benchmark, items, rows, lines, about)
    shutil.rmtree(journal, ignore_errors=True)
    with suppress(OSError):  # not empty, or never there: without a picture to look at
        journal.parent.rmdir()


def _judges(benchmark: Benchmark, items: Sequence[Item], given: Mapping[str, str]) -> Judges:
    """The judges that these items need, loaded once. Raises InputError for a role that nobody fills or needs."""
    needed = {role for category in {item.category for item in items} for role in benchmark.roles_of(category)}
    for role in given:
        if role not in benchmark.judges:
            wanted = ", ".join(f"{own} ({ROLES[own]})" for own in benchmark.judges)
            raise InputError(f"{role}: not a judge of {benchmark.name}: give --judge for {wanted}")
    missing = [role for role in sorted(needed) if role not in given and "/" not in benchmark.judges[role]]
    if missing:
        role = missing[0]
        raise InputError(
            f"{benchmark.name}: its own judge of role {role}, {benchmark.judges[role]}, does not come as a wheel:"
            f" give another with --judge {role}=FOLDER, or a hub id"
        )
    from silmm.benchmarks.judges.load import load

    return Judges(**{role: load(role, given.get(role, benchmark.judges[role])) for role in sorted(needed)})


def _journal(
    benchmark: Benchmark, items: Sequence[Item], notes: Mapping[str, Any], cards: Sequence[Card], state: Path
) -> Path:
    made_of: dict[str, Any] = {
        "benchmark": benchmark.name,
        "items": [list(map(str, item)) for item in items],
        "notes": notes,
        "judges": [list(card) for card in cards],
        "sources": source_hash("stages.benchmark", benchmark.name),
    }
    return state / fingerprint(made_of)


def _drawn(images: Sequence[Path]) -> dict[str, Any]:
    """What is said of pictures that were drawn here. Raises InputError for shards of different LMMs or settings."""
    said = {}
    for path in images:
        if (file := path / DRAWN).is_file():
            try:
                said[file] = json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError, RecursionError):
                raise InputError(f"{file}: not JSON; draw the pictures again (silmm benchmark-images)") from None
    if not said:
        return {}
    first, *others = said.items()
    for file, content in others:
        if content != first[1]:
            raise InputError(f"{file}: drawn by another LMM or with other settings than {first[0]}: draw them again")
    return dict(first[1])


def _seeds(items: Sequence[Item]) -> list[int]:
    return sorted({seed for item in items for seed in item.seeds})


def _lines(
    benchmark: Benchmark,
    items: Sequence[Item],
    seen: Seen,
    found: Sequence[scores.Score],
    cards: Sequence[Card],
    lmm: str,
    part: str,
) -> list[Line]:
    """The rows of scores.csv: every score with the judges behind it, the furthest from the official one deciding."""
    by_role = {card.role: card for card in cards}
    pictures = {item.id: len(own) for item, own in zip(items, seen.findings, strict=True)}
    lines = []
    for score in found:
        of = [item for item in items if item.category in score.members]
        categories = {item.category for item in of} or {item.category for item in items}
        roles = sorted({role for category in categories for role in benchmark.roles_of(category)})
        stands = max((standing(by_role[r].source, benchmark.judges[r]) for r in roles), key=STANDINGS.index)
        judge = "; ".join(f"{r}: {by_role[r].model} {by_role[r].source} {by_role[r].revision[:19]}" for r in roles)
        count = sum(pictures[item.id] for item in (of or items))
        values = (score.variant, score.category, score.score, score.ci_low, score.ci_high, score.items)
        lines.append(Line(benchmark.name, lmm, *values, count, judge, stands + part))
    return lines


def _about(
    benchmark: Benchmark,
    items: Sequence[Item],
    cards: Sequence[Card],
    seen: Seen,
    only: Sequence[str],
    first: int | None,
    left_out: Mapping[str, int],
) -> dict[str, Any]:
    same = sum(len(own) - len(set(own)) for own in seen.digests)
    return {
        "benchmark": f"{benchmark.title}, after {benchmark.commit}",
        "silmm": __version__,
        "part": {"categories": list(only) or "all", "prompts of each category": first or "all"},
        "prompts": len(items),
        "pictures": sum(map(len, seen.findings)),
        "pictures by size": seen.sizes,
        "pictures equal to another of their prompt": same,
        "prompts without an official score": dict(left_out),
        "judges": [
            {**card._asdict(), "official": benchmark.judges[card.role],
             "standing": standing(card.source, benchmark.judges[card.role])}
            for card in cards
        ],
    }  # fmt: skip


def _write(
    folder: Path,
    benchmark: Benchmark,
    items: Sequence[Item],
    rows: Sequence[Row],
    lines: Sequence[Line],
    about: Mapping[str, Any],
) -> None:
    columns = {name: [getattr(row, name) for row in rows] for name in Row._fields}
    for name in BENCHMARK.optional:
        columns[name] = [None if math.isnan(value) else value for value in columns[name]]
    write_table(folder / "rows.parquet", columns, BENCHMARK)
    (folder / "scores.csv").write_text(to_csv(lines), encoding="utf-8")
    (folder / "table.md").write_text(to_markdown(lines, _flat(about), about.get("warnings", [])), encoding="utf-8")
    write_json(folder / "run.json", dict(about))
    if benchmark.write_official:
        official = folder / "official"
        official.mkdir()
        benchmark.write_official(official, items, rows)


def _flat(about: Mapping[str, Any]) -> dict[str, str]:
    """For the page: lists and maps on one line."""
    return {name: _words(value) for name, value in about.items() if name not in ("data", "warnings")}


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{name} {_words(own)}" for name, own in value.items()) or "none"
    return ", ".join(map(_words, value)) if isinstance(value, list) else str(value)
