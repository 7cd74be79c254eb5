"""Against golden vectors: the published architecture, computed by another program (`golden/make.py`)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from silmm.lmm.dreamllm.dream import dream
from silmm.lmm.dreamllm.lmm import DreamLMM

from .conftest import adopted, load
from .golden import make

# float32 sums in another order, through 4 layers; then through 3 passes of the UNet, guided by 2.5, and the VAE.
HIDDEN, PICTURE = 5e-5, 1e-4


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(Path(make.__file__).with_name("golden.safetensors"))


@pytest.fixture(scope="module")
def lmm(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> DreamLMM:
    """The tiny one, with the weights that the golden vectors were made with."""
    folder = tmp_path_factory.mktemp("golden")
    copy = Path(shutil.copytree(weights, folder / "weights"))
    filled = {name: make.filled(shapes) for name, shapes in make.shapes_in(copy).items()}
    for file in copy.glob("*.safetensors"):
        save_file({name: filled["llm"][name] for name in load_file(file)}, file, {"format": "pt"})
    for file in copy.glob("*.bin"):
        torch.save(filled[file.name], file)
    return load(adopted(copy, folder / "ckpt", steps=make.STEPS, guidance=make.GUIDANCE))


@torch.no_grad()
def test_hidden_states_of_the_queries(lmm: DreamLMM, golden: dict[str, Tensor]) -> None:
    names = ("prompt", "free")
    found = dream(lmm.speaker, lmm.weights.queries_QD, [golden[f"{name}_ids"].tolist() for name in names])
    for name, hidden_QD in zip(names, found, strict=True):
        torch.testing.assert_close(hidden_QD, golden[f"{name}_hidden"], atol=HIDDEN, rtol=0)
    assert golden["prompt_hidden"].std() > 0.5


@torch.no_grad()
def test_the_picture_at_fixed_noise(lmm: DreamLMM, golden: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    left = list(golden["noise"])
    given = lambda shape, **kwargs: left.pop(0)[None].expand(shape).clone()  # noqa: E731
    monkeypatch.setattr("diffusers.utils.torch_utils.randn_tensor", given)
    monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", given)
    context, free = (lmm.painter.project(golden[f"{name}_hidden"]) for name in ("prompt", "free"))
    (found,) = lmm.painter.paint(context[None], free, [("any",)], steps=make.STEPS, guidance=make.GUIDANCE, rows=2)
    assert not left
    torch.testing.assert_close(torch.from_numpy(found) / 255, golden["picture"], atol=PICTURE + 0.5 / 255, rtol=0)
    assert golden["picture"].std() > 0.2
