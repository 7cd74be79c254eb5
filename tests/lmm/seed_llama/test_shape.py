"""What `silmm plan` says of SEED-LLaMA: counts are those of what is loaded."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from silmm import cli
from silmm.lmm.seed_llama import shape
from silmm.lmm.seed_llama.lmm import SeedLMM

from .conftest import ROLES

ROOT = Path(__file__).parents[3]


def test_parameters_are_those_that_are_loaded(lmm: SeedLMM, folder: Path) -> None:
    held = {role: shape.holds(role, folder / role, "bfloat16") for role in ROLES}
    assert all(one.missing is None and one.files for one in held.values())
    models = (lmm.weights.model, lmm.quantizer, lmm.pipeline.unet, lmm.pipeline.vae)
    plain, quantizer, unet, vae = (
        sum(p.numel() for name, p in model.named_parameters() if "lora_" not in name) for model in models
    )
    quantizer -= sum(p.numel() // 3 for n, p in lmm.quantizer.named_parameters() if n.endswith(".self_attn.qkv.bias"))
    assert [part.numbers for part in held["llm"].parts] == [plain]
    assert [part.numbers for part in held["visual"].parts] == [quantizer]  # of whose file keys have no bias
    others = [lmm.pipeline.text_encoder, lmm.pipeline.image_normalizer]
    rest = unet + sum(p.numel() for model in others for p in model.parameters())
    assert {part.name: part.numbers for part in held["diffusion"].parts} == {
        "VAE": vae,
        "rest of the diffusion decoder": rest,
    }
    assert [part.memory for part in held["diffusion"].parts] == [4 * vae, 2 * rest]


def test_the_shape_is_the_model_s(lmm: SeedLMM, folder: Path) -> None:
    found = shape.shape({role: folder / role for role in ROLES}, {}, "float32", 8)
    assert (found.places, found.codes, found.words) == (32, 64, lmm.weights.model.config.vocab_size)
    assert found.speaker == found.painter and found.painter.layers == 2 and found.seen == 34


@pytest.mark.parametrize("there", [False, True])
def test_the_paper_s_run_is_planned(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], there: bool
) -> None:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    if there:
        names = ("seed-llama-8b-sft", "seed-tokenizer-2", "stable-diffusion-2-1-unclip")
        for role, name in zip(ROLES, names, strict=True):
            shutil.copytree(folder / role, tmp_path / "weights" / name)
    assert cli.main(["plan", "config/paper/seed_llama.yaml", "--memory", "80"]) == 0
    out = capsys.readouterr().out
    assert "1,440,000" in out
    assert ("picture tokenizer" in out and "fits" in out) if there else ("download AILab-CVC/seed-tokenizer-2" in out)
