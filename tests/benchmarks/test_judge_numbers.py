"""A judge with a damaged weight stops in one line, in every kind: it is never a bad picture."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from silmm import cli
from silmm.benchmarks import registry
from silmm.benchmarks.geneval.benchmark import BENCHMARK as GENEVAL
from silmm.benchmarks.judges.interface import Query
from silmm.benchmarks.judges.load import KINDS, load
from silmm.benchmarks.judges.tiny import build
from silmm.errors import InputError

pytestmark = pytest.mark.xdist_group("judges")
PICTURE = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
MESSAGE = "scores that are no numbers: check the judge"
WAYS: dict[str, Callable[[Any], Any]] = {
    "vqa": lambda judge: judge.answer([PICTURE], [[Query("a dog?"), Query("how many?", free=True)]]),
    "clip": lambda judge: judge.compare([PICTURE], [["a dog"]]),
    "detector": lambda judge: judge.detect([PICTURE], [["dog"]], 0.3),
    "depth": lambda judge: judge.depth([PICTURE]),
    "sentences": lambda judge: judge.embed(["a dog"]),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("judges")
    return {kind: build(kind, root / kind) for kind in KINDS}


# Two weights of each kind, one of them near the end.
WEIGHTS = {
    "blip": ("text_decoder.cls.predictions.bias", "vision_model.post_layernorm.weight"),
    "qwen2_5_vl": ("model.language_model.norm.weight", "model.visual.merger.mlp.2.bias"),
    "qwen3_vl": ("model.language_model.norm.weight", "model.visual.merger.linear_fc2.bias"),
    "clip": ("visual_projection.weight", "text_model.final_layer_norm.bias"),
    "mask2former": ("class_predictor.bias", "model.pixel_level_module.decoder.mask_projection.bias"),
    "owlv2": ("class_head.logit_shift.bias", "box_head.dense0.bias"),
    "dpt": ("head.head.4.bias", "dpt.embeddings.projection.bias"),
    "mpnet": ("encoder.layer.1.output.LayerNorm.bias", "embeddings.LayerNorm.weight"),
}


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in WEIGHTS.items() for name in names])
def test_a_damaged_weight_stops_a_judge(folders: dict[str, Path], kind: str, name: str, value: float) -> None:
    """In memory, after its file was found whole: as weights that are too large for their type would do it."""
    judge = load(KINDS[kind].role, str(folders[kind]))
    WAYS[KINDS[kind].role](judge)
    weight = judge.model.get_parameter(name).data
    weight.flatten()[0] = value
    assert not bool(weight.isfinite().all())
    with pytest.raises(InputError, match=f"{kind} .{KINDS[kind].role}.: {MESSAGE}") as caught:
        WAYS[KINDS[kind].role](judge)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [math.nan, -math.inf])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_with_a_damaged_weight_is_no_judge(kind: str, value: float, tmp_path: Path) -> None:
    folder = build(kind, tmp_path / kind)
    damage(folder, "", value)
    with pytest.raises(InputError, match=rf"{kind}: [\w.]+ holds NaN or infinity, which gives {MESSAGE}"):
        load(KINDS[kind].role, str(folder))


def damage(folder: Path, name: str, value: float) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors[name or max(tensors)].flatten()[0] = value
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("kind", ["mask2former", "owlv2"])
def test_the_command_ends_with_one_line_and_writes_nothing(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "get", lambda name: GENEVAL._replace(files=(), prompts=None))
    line = {"tag": "single_object", "include": [{"class": "dog", "count": 1}], "prompt": "a photo of a dog"}
    (tmp_path / "evaluation_metadata.jsonl").write_text(json.dumps(line) + "\n")
    (tmp_path / "object_names.txt").write_text("person\ndog\nclock\ndining table\n")
    for k in range(4):
        file = tmp_path / f"pictures/00000/samples/{k}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PICTURE).save(file)
    damage(build(kind, tmp_path / kind), WEIGHTS[kind][0], math.nan)
    words = f"benchmark geneval --images {tmp_path / 'pictures'} --data {tmp_path} --out {tmp_path / 'out'}"
    assert cli.main([*words.split(), "--judge", f"detector={tmp_path / kind}"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert MESSAGE in said[-1] and "Traceback" not in "".join(said) and not (tmp_path / "out").exists()


def test_half_precision_that_runs_over_is_named(folders: dict[str, Path]) -> None:
    judge = load("clip", str(folders["clip"]))
    judge.model.to(torch.float16).visual_projection.weight.data[:, :16] = 60000.0
    with pytest.raises(InputError, match=f"{MESSAGE} .*too large for torch.float16"):
        judge.compare([PICTURE], [["a dog"]])
