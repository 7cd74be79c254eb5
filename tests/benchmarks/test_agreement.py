"""Agreement with people: correlations with known answers, the published files, and a run's own scores among them."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from silmm.benchmarks import agreement as measuring
from silmm.benchmarks.agreement import MEASURES, Agreement, agreement, correlations
from silmm.benchmarks.human_scores import MODELS, read_human_scores
from silmm.benchmarks.tifa.questions import read_questions
from silmm.errors import InputError, RecordError
from silmm.records import BENCHMARK, write_table
from silmm.stages import agreement as stage
from silmm.stages import agreement_maps

PROMPTS = ("coco_1", "coco_2", "drawbench_3", "drawbench_4")


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "RESAMPLES", 40)


# --- correlations -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "human", "expected"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], (1, 1, 1)),
        ([4, 3, 2, 1], [1, 2, 3, 4], (-1, -1, -1)),
        # ranks 1 2 3 4 against 1 3 2 4: rho = 1 - 6 * 2 / (4 * 15); tau: 5 pairs agree, 1 does not
        ([1, 2, 3, 4], [1, 3, 2, 4], (0.8, 4 / 6, 0.8)),
        # ties: ranks 1.5 1.5 3.5 3.5 against 1 2 3 4; tau-b: 4 pairs agree of sqrt(4 * 6)
        ([0, 0, 1, 1], [1, 2, 3, 4], (4 / math.sqrt(4 * 5), 4 / math.sqrt(24), 2 / math.sqrt(5))),
        ([1, 2, 3, 4], [0, 0, 0, 8], (0.7745967, 3 / math.sqrt(6 * 3), 0.7745967)),
    ],
)
def test_known_correlations(scores: Sequence[float], human: Sequence[float], expected: Sequence[float]) -> None:
    assert correlations(np.array(scores), np.array(human)) == pytest.approx(expected, abs=1e-6)


def test_a_constant_has_no_correlation() -> None:
    assert np.isnan(correlations(np.ones(4), np.arange(4.0))).all()


def test_intervals_hold_the_value_and_do_not_depend_on_the_order() -> None:
    rng = np.random.default_rng(0)
    human = rng.integers(1, 6, 120).astype(float)
    scores = human + rng.normal(size=120)
    prompts = [f"p{i // 4}" for i in range(120)]
    found = agreement(scores, human, prompts)
    assert [one.measure for one in found] == list(MEASURES)
    assert all(one.ci_low < one.value < one.ci_high for one in found)
    order = rng.permutation(120)
    again = agreement(scores[order], human[order], [prompts[i] for i in order])
    for one, other in zip(found, again, strict=True):
        assert one[1:] == pytest.approx(other[1:], abs=1e-12)


def test_pictures_of_a_prompt_are_drawn_together() -> None:
    """Copies of each picture tell nothing new: the interval is the one without them."""
    rng = np.random.default_rng(1)
    human, scores = rng.normal(size=(2, 30))
    prompts = [f"p{i:02}" for i in range(30)]
    once = agreement(scores, human, prompts)
    twice = agreement(np.repeat(scores, 2), np.repeat(human, 2), np.repeat(prompts, 2).tolist())
    assert [one.measure for one in once] == [one.measure for one in twice]
    assert once[2][1:] == pytest.approx(twice[2][1:], abs=1e-12)
    assert isinstance(once[0], Agreement)


def test_one_prompt_has_no_interval() -> None:
    rho, *_ = agreement([1, 2, 3], [1, 2, 3], ["a"] * 3)
    assert rho.value == 1 and math.isnan(rho.ci_low)


# --- annotations --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def official() -> Path:
    if "SILMM_BENCHMARKS" not in os.environ:
        pytest.skip("SILMM_BENCHMARKS, the folder of the official files, is not set")
    return Path(os.environ["SILMM_BENCHMARKS"])


def test_the_published_annotations(official: Path) -> None:
    tifa = read_human_scores(official / "tifa/human_annotations_with_scores.json")
    dsg = read_human_scores(official / "dsg-1k/tifa160-likert-anns.csv")
    assert (len(tifa.human), tifa.people, len(tifa.metrics)) == (800, 1600, 10)
    assert (len(dsg.human), dsg.people, len(dsg.dsg_ids)) == (800, 3995, 160)
    assert set(tifa.human) == set(dsg.human)
    pictures = sorted(tifa.human)
    human = np.array([tifa.human[picture] for picture in pictures])
    # The authors' notebook prints these two, the first as "Spearman" although it is Pearson's
    # (Yushi-Hu/tifa@8e37050: human_annotations/compute_correlation.ipynb).
    for name, printed in {
        "meteor": (0.33965916777485317, 0.27407599432086477),
        "clipscore_vitb32": (0.3318181645103688, 0.2314458979024208),
        "tifa_mplug-large": (0.5967201059577838, 0.4717164648720951),
    }.items():
        rho, tau, r = correlations(np.array([tifa.metrics[name][picture] for picture in pictures]), human)
        assert (r, tau) == pytest.approx(printed, abs=1e-12)
        assert abs(rho - r) > 1e-3
    other = np.array([dsg.human[picture] for picture in pictures])
    assert correlations(other, human)[0] == pytest.approx(0.8298, abs=1e-4)


def tifa_file(folder: Path, change: Callable[[dict[str, Any]], None] = lambda content: None) -> Path:
    """Four prompts by five models; people like later models and later prompts better; the metric does not."""
    content = {
        f"{prompt}_{model}": {
            "text_id": prompt, "image_path": "", "text": "", "human_scores": [1 + (i + m) // 2, 1 + (i + m + 1) // 2],
            "human_avg": 0, "metric": -i - m,
        }
        for i, prompt in enumerate(PROMPTS)
        for m, model in enumerate(MODELS)
    }  # fmt: skip
    change(content)
    (file := folder / "annotations.json").write_text(json.dumps(content))
    return file


def dsg_file(folder: Path, *more: str) -> Path:
    models = ("mini-dalle", "vq-diffusion", "sd1dot1", "sd1dot5", "sd2dot1")
    rows = [
        f"tifa160,{model},tifa160_{i},{prompt},w{w},?,{min(5, 1 + i + w)}"
        for i, prompt in enumerate(PROMPTS)
        for model in models
        for w in range(2)
    ]
    head = "dsg_prompt_split,t2i_model,item_id,source_id,worker_id,question,answer"
    (file := folder / "likert.csv").write_text("\n".join([head, *rows, *more]) + "\n")
    return file


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.clear(), "expected an object with a picture a key"),
        (lambda c: c.update(coco_1_dalle={"text_id": "coco_1"}), "drawn by 'dalle': expected one of mini_dalle"),
        (lambda c: c["coco_1_mini_dalle"].update(human_scores=[6]), "human_scores is [6]"),
        (lambda c: c["coco_1_mini_dalle"].update(metric=None), "metric is None: expected a number"),
        (lambda c: c["coco_1_mini_dalle"].update(metric=10**400), "expected a number"),
        (lambda c: c["coco_1_mini_dalle"].update(text_id="../x"), "text_id is '../x'"),
    ],
)
def test_annotations_that_are_refused(tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str) -> None:
    with pytest.raises(RecordError) as error:
        read_human_scores(tifa_file(tmp_path, change))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("tifa160,sd9,tifa160_0,coco_1,w9,?,1", "t2i_model is 'sd9'"),
        ("tifa160,sd1dot1,tifa160_0,coco_1,w9,?,6", "answer is '6'"),
        ("tifa160,sd1dot1,tifa160_0,../coco_1,w9,?,1", "source_id is '../coco_1'"),
        ("tifa160,sd1dot1,tifa160_0", "answer is None"),
        ("tifa160,sd1dot1,tifa160_0,coco_1,w1,?,3", "worker 'w1' rates this picture a second time"),
        ("tifa160,sd1dot1,tifa160_9,coco_1,w9,?,3", "coco_1 is 'tifa160_9' here, tifa160_0 before"),
    ],
)
def test_likert_rows_that_are_refused(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(RecordError) as error:
        read_human_scores(dsg_file(tmp_path, row))
    assert message in str(error.value)


# --- a run's own scores -------------------------------------------------------------------------------------------


def judged(folder: Path, scores: Mapping[str, float | None], judge: str = "some-judge") -> Path:
    """What `silmm benchmark` writes: two questions a prompt; corrected is the other way round."""
    folder.mkdir()
    columns: dict[str, list[Any]] = {name: [] for name in BENCHMARK.columns}
    for item, score in scores.items():
        for question in ("1", "2"):
            official = None if question == "2" else score
            corrected = 0.0 if score is None else 1 - score
            values = (item, 0, question, "x", "?", "yes", "yes", None, official, corrected)
            for name, value in zip(BENCHMARK.columns, values, strict=True):
                columns[name].append(value)
    write_table(folder / "rows.parquet", columns, BENCHMARK)
    card = {"role": "vqa", "model": "m", "source": judge, "revision": "sha256:0"}
    (folder / "run.json").write_text(json.dumps({"benchmark": "TIFA", "judges": [card]}))
    return folder


def read(file: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    with file.open(newline="") as stream:
        return {(row["people"], row["scores"], row["measure"]): row for row in csv.DictReader(stream)}


def test_published_metrics_stand_alone_without_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage.run(humans=(tifa_file(tmp_path), dsg_file(tmp_path)), rows={}, out=tmp_path / "out.csv")
    found = read(tmp_path / "out.csv")
    assert {key[:2] for key in found} == {
        ("tifa", "metric"), ("tifa", "people of dsg"), ("dsg", "metric"), ("dsg", "people of tifa"),
    }  # fmt: skip
    assert float(found["tifa", "metric", "spearman"]["value"]) == -1.0
    assert found["tifa", "metric", "kendall"]["pictures"] == "20"
    assert "unmeasured" in capsys.readouterr().out


@pytest.mark.parametrize("ids", [PROMPTS, tuple(f"tifa160_{i}" for i in range(4))])
def test_a_run_is_compared_on_its_own_pictures(tmp_path: Path, ids: Sequence[str]) -> None:
    rows = {
        model: judged(tmp_path / model, {**{name: (i + m) / 8 for i, name in enumerate(ids)}, "not_rated": 0.0})
        for m, model in enumerate(MODELS[:2])
    }
    stage.run(humans=(tifa_file(tmp_path), dsg_file(tmp_path)), rows=rows, out=tmp_path / "out.csv")
    found = read(tmp_path / "out.csv")
    assert float(found["tifa", "official", "spearman"]["value"]) == 1.0
    assert float(found["tifa", "corrected", "spearman"]["value"]) == -1.0
    assert ("tifa", "p", "spearman") not in found  # this judge has no probabilities
    assert {row["pictures"] for row in found.values()} == {"8"}
    assert {row["prompts"] for row in found.values()} == {"4"}
    assert found["dsg", "official", "pearson"]["judge"] == "TIFA; vqa: m some-judge sha256:0"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"dalle": {}}, "no model of the annotated pictures"),
        ({"mini_dalle": {"coco_1": 1.0, "coco_2": None}}, "3 of 4 rated prompts have no score (coco_2, drawbench_3"),
        ({"mini_dalle": dict.fromkeys(PROMPTS, 1.0), "vq_diffusion": dict.fromkeys(PROMPTS, 0.5)}, "different"),
    ],
)
def test_runs_that_are_refused(tmp_path: Path, rows: Mapping[str, Mapping[str, float | None]], message: str) -> None:
    folders = {model: judged(tmp_path / model, scores, model) for model, scores in rows.items()}
    with pytest.raises(InputError) as error:
        stage.run(humans=(tifa_file(tmp_path),), rows=folders, out=tmp_path / "out.csv")
    assert message in str(error.value)
    assert not (tmp_path / "out.csv").exists()


def test_the_same_annotations_twice_are_refused(tmp_path: Path) -> None:
    file = tifa_file(tmp_path)
    with pytest.raises(InputError, match="give each once"):
        stage.run(humans=(file, file), rows={}, out=tmp_path / "out.csv")


# --- maps ---------------------------------------------------------------------------------------------------------


def test_maps_of_the_published_pictures(tmp_path: Path) -> None:
    (pictures := tmp_path / "pictures").mkdir()
    for prompt in PROMPTS:
        for model in MODELS:
            (pictures / f"{prompt}_{model}.jpg").write_bytes(b"")
    (data := tmp_path / "data").mkdir()
    every = [*PROMPTS, "paintskill_5"]
    asked = {"question": "?", "choices": ["yes", "no"], "answer": "yes", "element_type": "object"}
    (data / "tifa_v1.0_text_inputs.json").write_text(json.dumps([{"id": name, "caption": name} for name in every]))
    (data / "tifa_v1.0_question_answers.json").write_text(json.dumps([{"id": name, **asked} for name in every]))
    humans = (tifa_file(tmp_path), dsg_file(tmp_path))
    out = tmp_path / "maps"
    agreement_maps.run(humans=humans, pictures=pictures, out=out, tifa=data)
    assert sorted(path.name for path in out.rglob("*.json")) == sorted(
        [*(f"{model}.json" for model in MODELS) , *(f"{model}.json" for model in MODELS),
         "tifa_v1.0_question_answers.json", "tifa_v1.0_text_inputs.json"]
    )  # fmt: skip
    made = json.loads((out / "dsg_1k/vq_diffusion.json").read_text())
    assert made["tifa160_2"] == str(pictures.resolve() / "drawbench_3_vq_diffusion.jpg")
    assert list(json.loads((out / "tifa/mini_dalle.json").read_text())) == list(PROMPTS)
    part = read_questions(
        *(out / "tifa_data" / f"tifa_v1.0_{name}.json" for name in ("text_inputs", "question_answers"))
    )
    assert [one.id for one in part] == list(PROMPTS)
    (pictures / "coco_1_mini_dalle.jpg").unlink()
    with pytest.raises(InputError, match="1 of 20 annotated pictures are missing"):
        agreement_maps.run(humans=humans, pictures=pictures, out=tmp_path / "again")
