"""Stages with a continuous LMM: features travel beside tokens, and step 5 learns from them."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from silmm import lmm as models
from silmm.errors import InputError
from silmm.lmm.shapeworld import data
from silmm.lmm.shapeworld import pretrain_continuous as painting
from silmm.records import (
    INDEX,
    PAIRS,
    SCORES,
    AlignStats,
    Prompt,
    PromptQuestions,
    Question,
    RecordError,
    read_json,
    read_table,
    write_jsonl,
    write_table,
)
from silmm.settings import Align, Evaluate, Images, Pretrain, Score
from silmm.stages import align, evaluate, images, pretrain, score
from silmm.stages.picture_file import read_pictures
from silmm.stages.representations import read_features, read_tokens
from tests.lmm.conftest import build

TINY = Pretrain(queries=4, blocks=1, heads=2, width=32, layers=2, paint_steps=2, spoil_steps=2)
STEP_2 = Images(n=4, rate=0.3, layers=1, noise="constant")
STEP_5 = Align(batch=4, lr=1e-4, sft_weight=0.0, pooling="query")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny continuous checkpoint, its prompts, questions and images, and pairs that somebody chose."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("continuous")
    lmm = painting.new_painter(build(), TINY, data.spec_pool(0, 64), 0)
    (root / "ckpt").mkdir()
    lmm.save(root / "ckpt")
    texts = ["a red circle and a blue square", "a green circle with a red square"]
    prompts = [Prompt(f"p{i:05d}", "attribute", "color", text, 0) for i, text in enumerate(texts)]
    write_jsonl(root / "prompts.jsonl", prompts)
    asked = (Question("q0", "is there a red circle ?", "yes", ()),)
    write_jsonl(root / "qa.jsonl", [PromptQuestions(p.id, ("exist(red circle)",), asked) for p in prompts])
    images.run(
        STEP_2,
        ckpt=root / "ckpt",
        prompts=root / "prompts.jsonl",
        seed=0,
        iteration=1,
        shard=(0, 1),
        out=root / "images",
    )
    columns = {"prompt_id": [p.id for p in prompts] * 2, "chosen": [0, 1, 2, 3], "rejected": [1, 2, 3, 0]}
    write_table(root / "pairs.parquet", {**columns, "score_chosen": [0.9] * 4, "score_rejected": [0.1] * 4}, PAIRS)
    return root


def run_align(
    folder: Path, out: Path, settings: Align = STEP_5, pictures: Path | None = None
) -> list[dict[str, float]]:
    align.run(
        settings, ckpt=folder / "ckpt", pairs=folder / "pairs.parquet", prompts=folder / "prompts.jsonl",
        qa=folder / "qa.jsonl", images=(pictures or folder / "images",), seed=0, iteration=1, out=out,
        state=out.with_name("state"),
    )  # fmt: skip
    return [json.loads(line) for line in (out / "training.jsonl").read_text().splitlines()]


def test_features_are_written_beside_tokens(folder: Path) -> None:
    feats, tokens = read_features([folder / "images"]), read_tokens([folder / "images"])
    assert list(feats) == list(tokens) and len(feats) == 8
    assert feats["p00000", 0].shape == (4, 32) and feats["p00000", 0].dtype == np.float32
    assert not np.array_equal(feats["p00000", 0], feats["p00000", 1])


@pytest.mark.parametrize("read", [read_features, read_tokens])
def test_only_wanted_samples_are_kept(read: Callable[..., dict], folder: Path) -> None:
    everything = read([folder / "images"])
    wanted = set(list(everything)[1:3])
    found = read([folder / "images"], wanted)
    assert set(found) == wanted
    assert all((found[key] == everything[key]).all() for key in wanted)
    with pytest.raises(RecordError, match="is in another shard too"):
        read([folder / "images"] * 2, set())


def test_several_pictures_of_a_sample_share_its_features_and_its_score(folder: Path, tmp_path: Path) -> None:
    """Sample k has the same features whatever the number of its pictures, and its answers are their mean."""
    given = {"ckpt": folder / "ckpt", "prompts": folder / "prompts.jsonl", "seed": 0, "iteration": 1, "shard": (0, 1)}
    images.run(dataclasses.replace(STEP_2, noise="prompt", noises=3), **given, out=tmp_path / "images")
    index = read_table(tmp_path / "images/index.parquet", INDEX).to_pylist()
    pictures = read_pictures(tmp_path / "images", [row["file"] for row in index])
    assert len({row["file"] for row in index}) == len(pictures) == 2 * 4 * 3
    feats, plain = read_features([tmp_path / "images"]), read_features([folder / "images"])
    assert list(feats) == list(plain)
    assert all(np.array_equal(feats[key], plain[key]) for key in plain)
    tokens = read_tokens([tmp_path / "images"])
    assert {rows.shape for rows in tokens.values()} == {(3, 36)}
    rows = scored(folder, tmp_path / "images", tmp_path / "scores.parquet")
    assert len(rows) == 8
    policy = models.load(folder / "ckpt")
    for row in rows:
        three = policy.answer(tokens[row["prompt_id"], row["sample"]], [["is there a red circle ?"]] * 3)
        assert row["p_yes"] == pytest.approx(np.mean([p[0, 0] for p in three]), rel=1e-5)


def scored(folder: Path, pictures: Path, out: Path) -> list[dict]:
    score.run(Score(), ckpt=folder / "ckpt", qa=folder / "qa.jsonl", images=(pictures,), out=out)
    return read_table(out, SCORES).to_pylist()


def test_a_lost_picture_is_an_error(folder: Path, tmp_path: Path) -> None:
    given = {"ckpt": folder / "ckpt", "prompts": folder / "prompts.jsonl", "seed": 0, "iteration": 1, "shard": (0, 1)}
    images.run(dataclasses.replace(STEP_2, noises=2), **given, out=tmp_path / "images")
    file = tmp_path / "images/index.parquet"
    columns = {name: column[:-1] for name, column in read_table(file, INDEX).to_pydict().items()}
    write_table(file, columns, INDEX)
    with pytest.raises(RecordError, match="sample 3 of prompt p00001 has 1 of 2 pictures"):
        scored(folder, tmp_path / "images", tmp_path / "scores.parquet")


def test_alignment_starts_at_log_2_and_moves_towards_the_chosen(folder: Path, tmp_path: Path) -> None:
    log = run_align(folder, tmp_path / "ckpt", Align(**{**vars(STEP_5), "epochs": 30, "lr": 1e-3}))
    assert log[0]["dpo_loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert log[0]["drift"] == pytest.approx(0, abs=1e-9)
    assert log[-1]["rewards/margins"] > 0.01 and log[-1]["dpo_loss"] < log[0]["dpo_loss"]
    assert log[-1]["drift"] > 0
    before, after = (load_file(str(path / "ckpt/flow_decoder.safetensors")) for path in (folder, tmp_path))
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert models.load(tmp_path / "ckpt").images == "continuous"


def test_alignment_says_how_far_its_pairs_are_apart(folder: Path, tmp_path: Path) -> None:
    log = run_align(folder, tmp_path / "a" / "ckpt")
    found = read_json(tmp_path / "a/ckpt/align.stats.json", AlignStats)
    drawn = read_features([folder / "images"])
    pairs = [(drawn[f"p0000{i % 2}", i], drawn[f"p0000{i % 2}", (i + 1) % 4]) for i in range(4)]
    chosen, rejected = (torch.from_numpy(np.stack(side)) for side in zip(*pairs, strict=True))
    apart = 1 - torch.cosine_similarity(chosen, rejected, dim=-1).mean(1)
    assert found.pairs == 4 and found.spread == pytest.approx(apart.mean().item(), rel=1e-4)
    quantiles = (found.spread_5, found.spread_50, found.spread_95)
    assert quantiles == pytest.approx(np.quantile(apart.numpy(), (0.05, 0.5, 0.95)), rel=1e-4)
    assert found.gamma * found.spread == pytest.approx(3) == found.argument
    run_align(folder, tmp_path / "b" / "ckpt", Align(**{**vars(STEP_5), "gamma": 6.0}))
    assert read_json(tmp_path / "b/ckpt/align.stats.json", AlignStats).gamma == 6
    assert log[0]["rewards/saturated"] == 0


def test_the_same_run_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    for name in "ab":
        run_align(folder, tmp_path / name / "ckpt")
    one, two = ((tmp_path / name / "ckpt/model.safetensors").read_bytes() for name in "ab")
    assert one == two


def spoiled(folder: Path, out: Path, change: str) -> Path:
    """The image folder with damaged features."""
    out.mkdir()
    for path in (folder / "images").glob("*.parquet"):
        (out / path.name).write_bytes(path.read_bytes())
    arrays = load_file(str(folder / "images/representations.safetensors"))
    if change == "missing":
        del arrays["feats"]
    elif change == "nan":
        arrays["feats"][3, 0, 0] = np.nan
    else:
        arrays["feats"] = np.ascontiguousarray(arrays["feats"][:, :3])
    save_file(arrays, str(out / "representations.safetensors"))
    return out


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("missing", "not `feats`"),
        ("nan", "`feats` holds numbers that are not finite"),
        (
            "shape",
            r"features of the pairs are \[3, 32\], of the policy \[4, 32\]: the images were drawn by another model",
        ),
    ],
)
def test_wrong_features_are_refused(folder: Path, tmp_path: Path, change: str, says: str) -> None:
    with pytest.raises((RecordError, InputError), match=says):
        run_align(folder, tmp_path / "ckpt", pictures=spoiled(folder, tmp_path / "images", change))


def test_features_without_spread_are_refused(folder: Path, tmp_path: Path) -> None:
    images.run(
        Images(n=4, rate=0.0, layers=1), ckpt=folder / "ckpt", prompts=folder / "prompts.jsonl", seed=0, iteration=1,
        shard=(0, 1), out=tmp_path / "images",
    )  # fmt: skip
    with pytest.raises(InputError, match="chosen and rejected features do not differ"):
        run_align(folder, tmp_path / "ckpt", pictures=tmp_path / "images")


def test_settings_that_do_not_fit_the_model_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="layers is 9: must be 0 to 2"):
        images.run(
            Images(layers=9), ckpt=folder / "ckpt", prompts=folder / "prompts.jsonl", seed=0, iteration=1,
            shard=(0, 1), out=tmp_path / "images",
        )  # fmt: skip
    (tmp_path / "discrete").mkdir()
    build().save(tmp_path / "discrete")
    with pytest.raises(InputError, match="noises is 2: must be 1 for a discrete LMM"):
        images.run(
            Images(noises=2), ckpt=tmp_path / "discrete", prompts=folder / "prompts.jsonl", seed=0, iteration=1,
            shard=(0, 1), out=tmp_path / "images",
        )  # fmt: skip
    with pytest.raises(InputError, match=r"has 't1.0': expected fresh_noise or constant_noise"):
        evaluate.run(Evaluate(prompts=8), ckpt=folder / "ckpt", seed=0, out=tmp_path / "e", stats=tmp_path / "s")


def test_a_base_is_trained_from_a_discrete_one_and_the_decoder_freezes(tmp_path: Path) -> None:
    discrete = tmp_path / "discrete"
    discrete.mkdir()
    build().save(discrete)
    for name, steps in (("two", 0), ("four", 2)):
        settings = Pretrain(**{**vars(TINY), "spoil_steps": steps})
        pretrain.run(settings, lmm="continuous", seed=0, out=tmp_path / name, state=tmp_path / "state", start=discrete)
    clean, wrong = (load_file(str(tmp_path / name / "flow_decoder.safetensors")) for name in ("two", "four"))
    assert all(np.array_equal(clean[name], wrong[name]) for name in clean)
    assert clean["range.mean"].any()  # what the decoder was trained on: taken before the captions go wrong
    queries = [load_file(str(tmp_path / name / "dream_queries.safetensors"))["embedding"] for name in ("two", "four")]
    assert not np.array_equal(*queries)
    with pytest.raises(InputError, match="--start is missing"):
        pretrain.run(TINY, lmm="continuous", seed=0, out=tmp_path / "x", state=tmp_path / "state")
    with pytest.raises(InputError, match="not a discrete ShapeWorld LMM"):
        pretrain.run(
            TINY, lmm="continuous", seed=0, out=tmp_path / "x", state=tmp_path / "state", start=tmp_path / "two"
        )
