"""What `silmm plan` says of SEED-LLaMA: counts are those of what is loaded."""

from __future__ import annotations

import re
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


NAMES = ("seed-llama-8b-sft", "seed-tokenizer-2", "stable-diffusion-2-1-unclip")


def planned(capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["plan", "config/paper/seed_llama.yaml", "--memory", "80"]) == 0
    return capsys.readouterr().out


def test_what_is_enough_to_plan_is_said_and_is_enough(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The configs that it names give the numbers that the weights give."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    before = planned(capsys)
    named = (
        "its model_index.json and the config.json of vae, unet, text_encoder and image_normalizer are enough to plan"
    )
    assert before.count("enough to plan") == 2 and f"(docs/seed_llama.md); {named}" in before
    assert "eva_vit_g.pth" in before
    for role, name in zip(ROLES, NAMES, strict=True):
        shutil.copytree(folder / role, tmp_path / "weights" / name)
    whole = planned(capsys)
    llm, _, unclip = (tmp_path / "weights" / name for name in NAMES)
    kept = [llm / "config.json", unclip / "model_index.json"]
    kept += [unclip / part / "config.json" for part in ("vae", "unet", "text_encoder", "image_normalizer")]
    for file in [*llm.rglob("*"), *unclip.rglob("*")]:
        if file.is_file() and file not in kept:
            file.unlink()
    alone = planned(capsys)
    assert whole.count("by the files") == 3 and alone.count("by config.json") == 2
    counts = [re.findall(r"([\d,]+) parameters by .*: (.*)", out) for out in (whole, alone)]
    assert counts[0] == counts[1] and len(counts[0]) == 3
    assert whole[whole.index("memory") :] == alone[alone.index("memory") :] and "fits" in alone


@pytest.mark.parametrize("there", [False, True])
def test_the_paper_s_run_is_planned(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], there: bool
) -> None:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    if there:
        for role, name in zip(ROLES, NAMES, strict=True):
            shutil.copytree(folder / role, tmp_path / "weights" / name)
    out = planned(capsys)
    assert "1,440,000" in out
    assert ("picture tokenizer" in out and "fits" in out) if there else ("download AILab-CVC/seed-tokenizer-2" in out)
