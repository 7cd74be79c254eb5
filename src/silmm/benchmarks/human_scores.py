"""What people said of pictures: the annotations that TIFA and DSG publish, of the same 800 pictures.

160 of TIFA's prompts (which are the `tifa160` of DSG-1k), drawn by five models. TIFA: two people a picture, and the
scores of ten metrics. DSG: three to five people a picture. Both rate consistency with the text from 1 to 5.
"""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from silmm.errors import RecordError
from silmm.typed_json import one_of, short

MODELS = ("mini_dalle", "vq_diffusion", "stable_diffusion_v1_1", "stable_diffusion_v1_5", "stable_diffusion_v2_1")
_DSG_MODELS = dict(zip(("mini-dalle", "vq-diffusion", "sd1dot1", "sd1dot5", "sd2dot1"), MODELS, strict=True))
_DSG_COLUMNS = ("t2i_model", "item_id", "source_id", "worker_id", "answer")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # prompts name files
_LARGE = 1e9  # no metric is
_NO_METRICS = ("text_id", "image_path", "text", "human_scores", "human_avg")


class Picture(NamedTuple):
    """A prompt, as TIFA numbers it, and the model that drew it, one of MODELS. Its published file is
    `<prompt>_<model>.jpg`."""

    prompt: str
    model: str


class Rated(NamedTuple):
    """A file of annotations."""

    name: str  # tifa or dsg
    human: dict[Picture, float]  # mean over people
    metrics: dict[str, dict[Picture, float]]  # that the file has itself
    dsg_ids: dict[str, str]  # of prompts: how DSG-1k calls them
    people: int  # ratings


def read_human_scores(file: Path) -> Rated:
    """TIFA's `human_annotations_with_scores.json` or DSG's `tifa160-likert-anns.csv`, by the file's ending.

    Raises RecordError for what is not such a file.
    """
    try:
        if file.suffix == ".csv":
            with file.open(encoding="utf-8", newline="") as stream:
                return _dsg(file, list(csv.DictReader(stream, strict=True)))
        return _tifa(file, json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"{file}: cannot be read ({short(error)}): give the published annotations") from None


def _tifa(file: Path, content: Any) -> Rated:
    if not isinstance(content, dict) or not content:
        raise RecordError(f"{file}: expected an object with a picture a key: give human_annotations_with_scores.json")
    rated = Rated("tifa", {}, defaultdict(dict), {}, 0)
    people = 0
    for key, row in content.items():
        where = f"{file}: {short(key)}"
        if not isinstance(row, dict):
            raise RecordError(f"{where}: expected an object")
        _check_name(where, "text_id", row.get("text_id"))
        picture = Picture(row["text_id"], key.removeprefix(f"{row['text_id']}_"))
        if picture.model not in MODELS:
            raise RecordError(f"{where}: drawn by {short(picture.model)}: {one_of(MODELS)}")
        ratings = row.get("human_scores")
        if not isinstance(ratings, list) or not ratings or not all(_is_rating(value) for value in ratings):
            raise RecordError(f"{where}: human_scores is {short(ratings)}: expected ratings from 1 to 5")
        rated.human[picture] = fmean(ratings)
        people += len(ratings)
        for name, value in row.items():
            if name not in _NO_METRICS:
                _check_name(where, "a metric", name)
                if not isinstance(value, int | float) or not abs(value) < _LARGE:
                    raise RecordError(f"{where}: {name} is {short(value)}: expected a number")
                rated.metrics[name][picture] = float(value)
    return rated._replace(metrics=dict(rated.metrics), people=people)


def _dsg(file: Path, rows: list[dict[str, Any]]) -> Rated:
    if not rows or any(name not in rows[0] for name in _DSG_COLUMNS):
        raise RecordError(f"{file}: expected rows with {', '.join(_DSG_COLUMNS)}: give tifa160-likert-anns.csv")
    ratings: Mapping[Picture, list[int]] = defaultdict(list)
    ids: dict[str, str] = {}
    raters = set()
    for number, row in enumerate(rows, 1):
        where = f"{file}: row {number}"
        if row["t2i_model"] not in _DSG_MODELS:
            raise RecordError(f"{where}: t2i_model is {short(row['t2i_model'])}: {one_of(_DSG_MODELS)}")
        if row["answer"] not in ("1", "2", "3", "4", "5"):
            raise RecordError(f"{where}: answer is {short(row['answer'])}: expected a rating from 1 to 5")
        for name in ("source_id", "item_id", "worker_id"):
            _check_name(where, name, row[name])
        picture = Picture(row["source_id"], _DSG_MODELS[row["t2i_model"]])
        if (rater := (picture, row["worker_id"])) in raters:
            raise RecordError(f"{where}: worker {short(row['worker_id'])} rates this picture a second time")
        if ids.setdefault(picture.prompt, row["item_id"]) != row["item_id"]:
            raise RecordError(
                f"{where}: {picture.prompt} is {short(row['item_id'])} here, {ids[picture.prompt]} before"
            )
        raters.add(rater)
        ratings[picture].append(int(row["answer"]))
    human = {picture: fmean(own) for picture, own in ratings.items()}
    return Rated("dsg", human, {}, ids, len(raters))


def _check_name(where: str, what: str, value: Any) -> None:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise RecordError(f"{where}: {what} is {short(value)}: expected letters, digits, '.', '_' and '-'")


def _is_rating(value: Any) -> bool:
    return isinstance(value, int | float) and 1 <= value <= 5
