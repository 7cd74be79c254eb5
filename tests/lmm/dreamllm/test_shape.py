"""What `silmm plan` says of DreamLLM: counts are those of what is loaded, and memory is that of its stages."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from bench.memory import peak_cpu
from silmm import cli
from silmm.forecast.lengths import Lengths
from silmm.forecast.memory import drawing, learning
from silmm.lmm.dreamllm import layout, shape
from silmm.lmm.dreamllm.lmm import DreamLMM
from silmm.settings import Adopt, Align, Images
from tests.lmm.dreamllm.conftest import PROMPTS

ROOT = Path(__file__).parents[3]


def count(model: object, *, without: str = "lora_") -> int:
    return sum(p.numel() for name, p in model.named_parameters() if without not in name)  # type: ignore[attr-defined]


def test_parameters_are_those_that_are_loaded(lmm: DreamLMM, weights: Path) -> None:
    model, decoder = shape.holds("model", weights, "bfloat16"), shape.holds("diffusion", weights / "sd", "bfloat16")
    assert model.missing is None and decoder.missing is None and len(decoder.files) == 3
    plugins = count(lmm.weights.vision) + lmm.weights.queries_QD.numel() + count(lmm.painter.projector)
    found = {part.name: part.numbers for part in (*model.parts, *decoder.parts)}
    assert found == {
        "plug-ins": plugins, "language model": count(lmm.weights.model), "VAE": count(lmm.painter.vae),
        "U-Net": count(lmm.painter.unet),
    }  # fmt: skip
    assert [part.memory for part in decoder.parts] == [4 * found["VAE"], 2 * found["U-Net"]]


def test_memory_is_as_forecast(lmm: DreamLMM, weights: Path) -> None:
    """Of painting, and of the backward pass."""
    rows, options = lmm.settings.rows, lmm.settings.options
    found = shape.shape({"model": weights, "diffusion": weights / "sd"}, options, "float32", rows)
    longest = max(len(layout.draw_ids(lmm.tokenizer, prompt)) for prompt in PROMPTS)
    texts = Lengths(0, 0, 0, longest, 0, 0, 0)
    learns = learning(found, Adopt(rows=rows, rank=2), Align(rows=len(PROMPTS), text_weight=0.0), texts)[0]

    def learn() -> None:
        lmm.features(PROMPTS).sum().backward()

    measured = peak_cpu(learn, ())[1]
    for weight in lmm.parameters():
        weight.grad = None
    assert learns.passes == pytest.approx(measured, rel=0.15)

    context = lmm.painter.project(lmm.features(PROMPTS[:2]).detach())
    lmm.painter.paint(context, context[0], [(0,), (1,)], steps=1, guidance=2.5, rows=rows)  # tables are made once
    paint = lambda: lmm.painter.paint(context, context[0], [(0,), (1,)], steps=1, guidance=2.5, rows=rows)  # noqa: E731
    measured = peak_cpu(paint, ())[1]
    makes = drawing(found, Adopt(rows=rows), Images(), longest)[-1]
    assert makes.pictures == pytest.approx(measured, rel=0.15)


@pytest.mark.parametrize("there", ["nothing", "configs", "all"])
def test_the_paper_s_run_is_planned(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], there: str
) -> None:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    model, decoder = (tmp_path / "weights" / name for name in ("dreamllm-7b-chat-v1.0", "stable-diffusion-2-1-base"))
    if there == "configs":
        model.mkdir(parents=True)
        shutil.copy(weights / "config.json", model)
    if there == "all":
        shutil.copytree(weights, model)
    if there != "nothing":
        shutil.copytree(weights / "sd", decoder)
    assert cli.main(["plan", "config/paper/dreamllm.yaml", "--memory", "80"]) == 0
    out = capsys.readouterr().out
    assert "1,440,000" in out
    assert ("download RunpeiDong/dreamllm-7b-chat-v1.0" in out) == (there != "all")
    assert ("GB of features" in out and "fits" in out) == (there != "nothing")
    assert ("parameters by config.json" in out) == (there == "configs")


def test_a_sample_takes_what_is_written(lmm: DreamLMM, weights: Path) -> None:
    feats = np.zeros(lmm.features(PROMPTS[:1]).shape[1:], np.float16)
    found = shape.shape({"model": weights, "diffusion": weights / "sd"}, lmm.settings.options, "float32", 4)
    assert found.kept == feats.nbytes
