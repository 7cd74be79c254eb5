"""Make the annotated pictures ready for `silmm benchmark`: a map for each model that drew them, and TIFA's questions
about their prompts alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from silmm.atomic import atomic_dir
from silmm.benchmarks.human_scores import MODELS, Rated, read_human_scores
from silmm.benchmarks.scores import listed
from silmm.benchmarks.tifa.benchmark import PROMPTS, QUESTIONS
from silmm.benchmarks.tifa.questions import read_questions
from silmm.errors import InputError


def run(*, humans: tuple[Path, ...], pictures: Path, out: Path, tifa: Path | None = None) -> None:
    """Write into `out`, a folder: `tifa/<model>.json` and, from DSG's annotations, `dsg_1k/<model>.json`, which are
    `--images` of the benchmark of that name; with `tifa`, the folder of TIFA's own files, `tifa_data` too, its
    `--data`. (`dsg_1k` takes its own data, and `--only tifa`.)

    pictures: the folder of the published pictures, `<prompt>_<model>.jpg`. The maps name them where they are.
    Raises InputError that lists the pictures that are not there.
    """
    rated = [read_human_scores(file) for file in humans]
    wanted = sorted({picture for one in rated for picture in one.human})
    files = {picture: pictures.resolve() / f"{picture.prompt}_{picture.model}.jpg" for picture in wanted}
    if lost := [file.name for file in files.values() if not file.is_file()]:
        raise InputError(f"{pictures}: {len(lost)} of {len(files)} annotated pictures are missing ({listed(lost)})")
    dsg_ids = {tifa_id: dsg for one in rated for tifa_id, dsg in one.dsg_ids.items()}
    named = {"tifa": {picture.prompt: picture.prompt for picture in wanted}, "dsg_1k": dsg_ids}
    part = _part(tifa, rated) if tifa else {}
    with atomic_dir(out, "silmm agreement-maps") as folder:
        for benchmark, ids in named.items():
            for model in MODELS if ids else ():
                own = {ids[p.prompt]: str(file) for p, file in files.items() if p.model == model and p.prompt in ids}
                _write(folder / benchmark / f"{model}.json", own)
        for name, rows in part.items():
            _write(folder / "tifa_data" / name, rows)


def _part(folder: Path, rated: Sequence[Rated]) -> dict[str, list[dict[str, Any]]]:
    """TIFA's files, of the annotated prompts alone. Raises InputError where those have none of them."""
    prompts = {picture.prompt for one in rated for picture in one.human}
    asked = [one for one in read_questions(folder / PROMPTS, folder / QUESTIONS) if one.id in prompts]
    if lost := sorted(prompts - {one.id for one in asked}):
        raise InputError(f"{folder / PROMPTS}: {len(lost)} annotated prompts are missing ({listed(lost)})")
    texts = [{"id": one.id, "caption": one.prompt} for one in asked]
    return {PROMPTS: texts, QUESTIONS: [question.raw for one in asked for question in one.questions]}


def _write(file: Path, value: Any) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
