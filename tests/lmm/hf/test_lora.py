"""LoRA starts as the base, is keyed, and comes back from its folder; other adapters are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from silmm.errors import InputError
from silmm.lmm.hf import lora

from .conftest import build

REGEX = r"model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"
IDS = torch.arange(3, 9)[None]


def adapted(seed: int | None = 0, rank: int = 2, alpha: int = 4):  # type: ignore[no-untyped-def]
    return lora.attach(build(), regex=REGEX, rank=rank, alpha=alpha, seed=seed)


def stir(model: torch.nn.Module) -> None:
    """What training does: B is no longer zero."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in lora.parameters(model):
            p += torch.randn(p.shape, generator=generator) * 0.1


def test_starts_as_the_base() -> None:
    with torch.no_grad():
        assert torch.equal(adapted()(IDS).logits, build()(IDS).logits)


def test_only_lora_learns() -> None:
    model = adapted()
    learned = [name for name, p in model.named_parameters() if p.requires_grad]
    assert len(learned) == 2 * 7 * 2 and all(".lora_" in name for name in learned)
    assert len(lora.parameters(model)) == len(learned)
    assert all(p.dtype == torch.float32 for p in lora.parameters(model))
    assert not any(module.training for module in model.modules())


def test_keyed_by_seed() -> None:
    first, again, other = (lora.weights(adapted(seed)) for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    for name in first:
        assert torch.equal(first[name], other[name]) == (".lora_B." in name)
        assert first[name].any() == (".lora_A." in name)


def test_a_bf16_base_has_float32_lora() -> None:
    model = lora.attach(build().to(torch.bfloat16), regex=REGEX, rank=2, alpha=4, seed=0)
    assert {p.dtype for p in lora.parameters(model)} == {torch.float32}


def test_comes_back(tmp_path: Path) -> None:
    model, fresh = adapted(), adapted(seed=None)
    stir(model)
    lora.save(model, tmp_path, base="weights/base")
    lora.restore(fresh, tmp_path)
    with torch.no_grad():
        assert torch.equal(model(IDS).logits, fresh(IDS).logits)
        assert not torch.equal(model(IDS).logits, build()(IDS).logits)
        with model.disable_adapter():
            assert torch.equal(model(IDS).logits, build()(IDS).logits)


def test_peft_opens_it(tmp_path: Path) -> None:
    from peft import PeftModel

    model = adapted()
    stir(model)
    lora.save(model, tmp_path, base="weights/base")
    with torch.no_grad():
        assert torch.equal(PeftModel.from_pretrained(build(), tmp_path)(IDS).logits, model(IDS).logits)


def test_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        lora.save(adapted(), tmp_path / name, base="weights/base")
    for name in (lora.CONFIG, lora.WEIGHTS):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_meta_model_has_no_values() -> None:
    from transformers.models.llama.modeling_llama import LlamaForCausalLM

    with torch.device("meta"):
        bare = LlamaForCausalLM(build().config)
    bare = lora.attach(bare, regex=REGEX, rank=2, alpha=4, seed=None)
    shapes = {name: tuple(t.shape) for name, t in lora.weights(bare).items()}
    real = lora.weights(adapted(seed=5))
    assert shapes == {name: tuple(t.shape) for name, t in real.items()}
    assert all(torch.equal(t, real[name]) for name, t in lora.initial(shapes, 5).items())


def test_a_lost_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="adapter_config.json: no such file"):
        lora.restore(adapted(), tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"r": 3}, "r is 3, but config.json beside it says 2"),
        ({"lora_alpha": 8}, "lora_alpha is 8, but config.json beside it says 4"),
    ],
)
def test_another_rank(tmp_path: Path, change: dict[str, int], says: str) -> None:
    lora.save(adapted(), tmp_path, base="weights/base")
    fields = json.loads((tmp_path / lora.CONFIG).read_text())
    (tmp_path / lora.CONFIG).write_text(json.dumps(fields | change))
    with pytest.raises(InputError, match=says):
        lora.restore(adapted(), tmp_path)


@pytest.mark.parametrize("what", ["missing", "unexpected", "misshapen"])
def test_weights_of_another_model(tmp_path: Path, what: str) -> None:
    lora.save(adapted(), tmp_path, base="weights/base")
    file = tmp_path / lora.WEIGHTS
    tensors = load_file(str(file))
    name = next(iter(tensors))
    if what == "missing":
        del tensors[name]
    elif what == "unexpected":
        tensors["more"] = torch.zeros(1)
    else:
        tensors[name] = torch.zeros(5, 7)
    save_file(tensors, str(file))
    with pytest.raises(InputError, match="is of another model" if what != "misshapen" else r"is \[5, 7\], not"):
        lora.restore(adapted(), tmp_path)


def test_damaged_weights(tmp_path: Path) -> None:
    lora.save(adapted(), tmp_path, base="weights/base")
    (tmp_path / lora.WEIGHTS).write_bytes(b"12345")
    with pytest.raises(InputError, match="damaged"):
        lora.restore(adapted(), tmp_path)


def test_bad_settings() -> None:
    with pytest.raises(InputError, match="no layer of LlamaForCausalLM matches 'nothing'"):
        lora.attach(build(), regex="nothing", rank=2, alpha=4, seed=0)
    with pytest.raises(InputError, match="rank is 0"):
        adapted(rank=0)
