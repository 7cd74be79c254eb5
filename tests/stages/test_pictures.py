"""Pictures that are made of no visual tokens: written as they were drawn, and looked at as they were written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from silmm import lmm as models
from silmm.lmm.interface import Drawn, Sampling
from silmm.records import (
    PAIRS,
    SCORES,
    Prompt,
    PromptQuestions,
    Question,
    RecordError,
    read_table,
    write_jsonl,
    write_table,
)
from silmm.settings import Images, Score
from silmm.stages import images, inference, score
from silmm.stages.align import load_preferences
from silmm.stages.picture_file import picture_writer, read_pictures
from silmm.stages.representations import read_features, read_names, read_shard

SIDE, QUERIES, WIDTH = 70, 2, 3
DRAW = Images(n=2, noises=3)


class Painter:
    """It paints sample n of a prompt in red of strength n, and its picture m in green of strength m; looking at one, it
    finds yes as likely as it is red, and no as likely as it is green."""

    world, images, layers = "open", "continuous", 1

    def __init__(self) -> None:
        self.looked: list[int] = []

    def ask(self, prompts: Sequence[str], *, max_tokens: int) -> list[str]:
        return ["kettle -> Is there a kettle?"] * len(prompts)

    def draw(self, prompts: Sequence[str], keys: Sequence[Sequence[tuple]], sampling: Sampling) -> Drawn:
        samples = len(keys[0])
        pictures = np.zeros((len(prompts), samples * sampling.noises, SIDE, SIDE, 3), np.uint8)
        for row in range(pictures.shape[1]):
            pictures[:, row, :, :, :2] = divmod(row, sampling.noises)
        feats = np.arange(len(prompts) * samples * QUERIES * WIDTH, dtype=np.float16)
        return Drawn(None, feats.reshape(len(prompts), samples, QUERIES, WIDTH), pictures)

    def look(self, images: Sequence[np.ndarray], questions: Sequence[Sequence[str]]) -> list[np.ndarray]:
        self.looked.append(len(images))
        both = zip(images, questions, strict=True)
        return [np.tile(image[0, 0, :2] / 10, (len(texts), 1)) for image, texts in both]


@pytest.fixture
def painter(monkeypatch: pytest.MonkeyPatch) -> Painter:
    """Whatever is loaded is this LMM."""
    lmm = Painter()
    monkeypatch.setattr(models, "load", lambda folder: lmm)
    return lmm


def step_2(folder: Path, shard: tuple[int, int] = (0, 1)) -> Path:
    rows = [Prompt(f"p{i}", "attribute", "color", f"a cup {i}", 0) for i in range(3)]
    write_jsonl(folder / "prompts.jsonl", rows)
    keys = {"seed": 0, "iteration": 1, "shard": shard}
    images.run(DRAW, ckpt=folder, prompts=folder / "prompts.jsonl", out=folder / "images", **keys)
    return folder / "images"


def step_4(folder: Path) -> dict[str, list]:
    rows = [PromptQuestions(f"p{i}", ("cup",), (Question("q0", "Is it red?"),)) for i in range(3)]
    write_jsonl(folder / "qa.jsonl", rows)
    out = folder / "scores.parquet"
    score.run(Score(block=4), ckpt=folder, qa=folder / "qa.jsonl", images=(folder / "images",), out=out)
    return read_table(out, SCORES).to_pydict()


def test_step_2_writes_pictures_and_features_alone(painter: Painter, tmp_path: Path) -> None:
    folder = step_2(tmp_path)
    arrays = load_file(str(folder / "representations.safetensors"))
    assert {name: (a.shape, a.dtype) for name, a in arrays.items()} == {"feats": ((6, QUERIES, WIDTH), np.float16)}
    for sample in range(2):
        for noise in range(3):
            name = f"p1_{sample}_{noise}.png" if noise else f"p1_{sample}.png"
            assert read_pictures(folder, [name])[0][5, 7].tolist() == [sample, noise, 0]
    feats = read_features([folder])
    assert list(feats) == [(f"p{i}", k) for i in range(3) for k in range(2)]
    assert feats["p1", 1].tolist() == np.arange(18, 24).reshape(QUERIES, WIDTH).tolist()
    with pytest.raises(RecordError, match="holds 'feats', not `tokens`"):
        read_shard(folder)


def test_step_5_has_each_sample_once_and_pooled(painter: Painter, tmp_path: Path) -> None:
    folder = step_2(tmp_path)
    rows = [("p2", 1, 0), ("p0", 0, 1), ("p2", 1, 0)]
    columns = dict(zip(("prompt_id", "chosen", "rejected"), map(list, zip(*rows, strict=True)), strict=True))
    columns["rejected"][2], scores = 1, {"score_chosen": [0.5] * 3, "score_rejected": [0.1] * 3}
    columns["chosen"][2] = 0
    write_table(tmp_path / "pairs.parquet", {**columns, **scores}, PAIRS)
    write_jsonl(tmp_path / "qa.jsonl", [PromptQuestions("p0", (), ())])
    files = [tmp_path / name for name in ("pairs.parquet", "prompts.jsonl", "qa.jsonl")]
    data = load_preferences(*files, (folder,), "continuous", "open", "avg")
    assert data.prompts == ["a cup 2", "a cup 0", "a cup 2"]
    assert data.pooled is not None and data.pooled.shape == (4, WIDTH) and data.pooled.dtype == np.float32
    means = np.arange(36, dtype=np.float32).reshape(3, 2, QUERIES, WIDTH).mean(2)  # prompt, sample
    for side, wanted in ((data.chosen, means[[2, 0, 2], [1, 0, 0]]), (data.rejected, means[[2, 0, 2], [0, 1, 1]])):
        np.testing.assert_array_equal(data.side(side).numpy(), wanted)
    columns["chosen"][0] = 7
    write_table(tmp_path / "pairs.parquet", {**columns, **scores}, PAIRS)
    with pytest.raises(RecordError, match="sample 7 of prompt p2 is in none of the folders"):
        load_preferences(*files, (folder,), "continuous", "open", "avg")
    with pytest.raises(RecordError, match="is in another shard too"):
        load_preferences(*files, (folder, folder), "continuous", "open", "avg")


def test_an_empty_shard_has_neither(painter: Painter, tmp_path: Path) -> None:
    assert read_features([step_2(tmp_path, shard=(1, 2))]) == {}


def test_step_4_looks_at_the_files(painter: Painter, tmp_path: Path) -> None:
    folder = step_2(tmp_path)
    found = step_4(tmp_path)
    assert painter.looked == [4, 4, 4, 4, 2]
    assert found["sample"] == [0, 1] * 3
    np.testing.assert_allclose(found["p_yes"], [0.0, 0.1] * 3, atol=1e-6)
    np.testing.assert_allclose(found["p_no"], [0.1] * 6, atol=1e-6)  # the mean over its pictures
    names = read_names(folder)
    pictures = dict(zip(names, read_pictures(folder, names), strict=True))
    pictures["p2_0.png"] = np.full((SIDE, SIDE, 3), (9, 1, 0), np.uint8)
    (folder / "pictures.zip").unlink()
    with picture_writer(folder) as add:
        for name, pixels in pictures.items():
            add(name, pixels)
    np.testing.assert_allclose(step_4(tmp_path)["p_yes"], [0.0, 0.1, 0.0, 0.1, 0.3, 0.1], atol=1e-6)


def test_step_4_says_that_nothing_was_asked(
    painter: Painter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = step_2(tmp_path)
    silent = [PromptQuestions(p, (), ()) for p in sorted({name.split("_")[0] for name in read_names(folder)})]
    write_jsonl(tmp_path / "qa.jsonl", silent)
    score.run(Score(), ckpt=tmp_path, qa=tmp_path / "qa.jsonl", images=(folder,), out=tmp_path / "scores.parquet")
    assert "qa.jsonl has no question about these images: nothing to score" in capsys.readouterr().err
    assert read_table(tmp_path / "scores.parquet", SCORES).num_rows == 0


def test_draw_keeps_the_best_picture(painter: Painter, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "best.png"
    inference.draw(ckpt=tmp_path, prompt="a cup", n=3, best=True, out=out, seed=0, settings=DRAW)
    assert "sample 2: self-score +0.200  <- best" in capsys.readouterr().out
    assert np.asarray(Image.open(out))[0, 0].tolist() == [2, 0, 0]
