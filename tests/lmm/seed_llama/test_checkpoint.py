"""Checkpoints: what is saved is what is loaded, and what will not do is refused in one line that says why."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from silmm import lmm as models
from silmm.errors import InputError
from silmm.lmm.interface import Sampling
from silmm.lmm.seed_llama import checkpoint, quantizer_file, tiny
from silmm.lmm.seed_llama.lmm import SeedLMM

from .conftest import OPTIONS, PROMPTS, keys, load, make

FIRST, SECOND = (f"llm/model-0000{i}-of-00002.safetensors" for i in (1, 2))
UNET, VAE = (f"diffusion/{part}/diffusion_pytorch_model.safetensors" for part in ("unet", "vae"))


def test_saved_and_loaded_again(policy: SeedLMM, codes: np.ndarray, tmp_path: Path) -> None:
    policy.save(tmp_path)
    again = load(tmp_path)
    with torch.no_grad():
        expected = policy.token_logps(PROMPTS, codes)
        assert torch.equal(again.token_logps(PROMPTS, codes), expected)
        with policy.without_adapter():
            assert not torch.equal(policy.token_logps(PROMPTS, codes), expected)
    assert (again.render(codes[:1]) == policy.render(codes[:1])).all()
    assert sum(f.stat().st_size for f in tmp_path.iterdir()) < 100_000  # LoRA alone


def test_peft_reads_what_is_saved(policy: SeedLMM, folder: Path, tmp_path: Path) -> None:
    """As the model card says, without silmm."""
    ids = torch.arange(20, 60)[None]
    policy.save(tmp_path)
    base = LlamaForCausalLM.from_pretrained(folder / "llm")
    with torch.no_grad():
        expected = policy.weights.model(input_ids=ids).logits
        before = base(input_ids=ids).logits
        found = PeftModel.from_pretrained(base, tmp_path).eval()(input_ids=ids).logits
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(before, expected, atol=0.1)
    card = (tmp_path / "README.md").read_text()
    assert "LlamaForCausalLM" in card and "LLaMA-2 community licence" in card and str(folder / "diffusion") in card


def test_one_seed_gives_one_folder(folder: Path, ckpt: Path, tmp_path: Path) -> None:
    tiny.main(["--out", str(tmp_path / "again"), "--seed", "0"])
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert files == sorted(
        path.relative_to(tmp_path / "again") for path in (tmp_path / "again").rglob("*") if path.is_file()
    )
    assert [name for name in files if (folder / name).read_bytes() != (tmp_path / "again" / name).read_bytes()] == []
    assert {Path(FIRST), Path(SECOND), Path(UNET), Path("visual/seed_quantizer.pt")} < set(files)
    fresh, other = make(folder, tmp_path / "fresh"), make(folder, tmp_path / "other", seed=1)
    names = sorted(path.name for path in ckpt.iterdir())
    assert all((ckpt / n).read_bytes() == (fresh / n).read_bytes() for n in names)
    assert {n for n in names if (ckpt / n).read_bytes() != (other / n).read_bytes()} == {"adapter_model.safetensors"}


@pytest.mark.parametrize("shards", [1, 2])
def test_a_language_model_in_torch_s_own_files(
    lmm: SeedLMM, folder: Path, codes: np.ndarray, tmp_path: Path, shards: int
) -> None:
    """As the hub may hold it, with the numbers that old LLaMAs saved and nobody needs."""
    copy = shutil.copytree(folder, tmp_path / "weights")
    tensors = {name: t for file in (FIRST, SECOND) for name, t in load_file(copy / file).items()}
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    names = sorted(tensors)
    parts = [names] if shards == 1 else [names[:9], names[9:]]
    files = ["pytorch_model.bin"] if shards == 1 else [f"pytorch_model-0000{i}-of-00002.bin" for i in (1, 2)]
    for file, part in zip(files, parts, strict=True):
        torch.save({name: tensors[name] for name in part}, copy / "llm" / file)
    if shards == 2:
        index = {name: file for file, part in zip(files, parts, strict=True) for name in part}
        (copy / "llm/pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    for file in (FIRST, SECOND, "llm/model.safetensors.index.json"):
        (copy / file).unlink()
    again = load(make(copy, tmp_path / "ckpt"))
    with torch.no_grad():
        assert torch.equal(again.token_logps(PROMPTS, codes), lmm.token_logps(PROMPTS, codes))
    (copy / "llm" / files[-1]).write_bytes((copy / "llm" / files[-1]).read_bytes()[:-200])
    with pytest.raises(InputError, match=f"{files[-1]}: not a whole file of weights"):
        make(copy, tmp_path / "other")


def test_bfloat16(folder: Path, lmm: SeedLMM, codes: np.ndarray, tmp_path: Path) -> None:
    """The language model and the U-Net in 16 bits; LoRA, the picture tokenizer and the VAE in 32; every method runs."""
    small = load(make(folder, tmp_path / "ckpt", dtype="bfloat16"))
    assert small.weights.head_CD.dtype == small.pipeline.unet.dtype == torch.bfloat16
    assert {p.dtype for p in small.parameters()} == {torch.float32} == {small.pipeline.vae.dtype}
    assert torch.equal(small.quantizer.codebook.weight, lmm.quantizer.codebook.weight)
    with torch.no_grad():
        expected = lmm.token_logps(PROMPTS, codes)
    logps = small.token_logps(PROMPTS, codes)
    assert logps.dtype == torch.float32
    torch.testing.assert_close(logps.detach(), expected, atol=0.75, rtol=0)
    logps.sum().backward()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in small.parameters())
    drawn = small.draw(PROMPTS[:1], keys(1, 2), Sampling(top_p=0.9)).tokens_PNL[0]
    (one, _) = small.answer(drawn, [["Is there a dog?"], []])
    assert one.shape == (1, 2) and (one > 0).all()
    assert small.write(["color"], [("a", 1)], temperature=1.0)


# ---- what is refused -------------------------------------------------------------------------------------------------

Spoil = Callable[[Path], object]


def edit(name: str, change: Callable[[dict], object]) -> Spoil:
    """Change a JSON file in place."""

    def spoil(folder: Path) -> None:
        fields = json.loads((folder / name).read_text())
        change(fields)
        (folder / name).write_text(json.dumps(fields))

    return spoil


def cut(name: str) -> Spoil:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-1000])


def remove(name: str) -> Spoil:
    return lambda folder: (folder / name).unlink()


def pointer(name: str) -> Spoil:
    return lambda folder: (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid ...")


def requantize(change: Callable[[dict], object]) -> Spoil:
    def spoil(folder: Path) -> None:
        file = folder / "visual" / quantizer_file.FILE
        tensors = torch.load(file, weights_only=True)
        change(tensors)
        torch.save(tensors, file)

    return spoil


def shift(ids: dict[str, int]) -> None:
    ids.update({name: number + 5000 for name, number in ids.items()})


def respell(file: str, change: Callable[[dict[str, torch.Tensor]], object]) -> Spoil:
    """Change a safetensors file, and the index beside it."""

    def spoil(folder: Path) -> None:
        tensors = load_file(folder / file)
        change(tensors)
        save_file(tensors, folder / file, {"format": "pt"})
        index = folder / "llm/model.safetensors.index.json"
        if file.startswith("llm"):
            names = json.loads(index.read_text())
            names["weight_map"] = {n: f for n, f in names["weight_map"].items() if f != Path(file).name}
            names["weight_map"] |= dict.fromkeys(tensors, Path(file).name)
            index.write_text(json.dumps(names))

    return spoil


def narrow(name: str) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda tensors: tensors.update({name: tensors[name][:3].clone()})


def few_rows(folder: Path) -> None:
    """Of the language model's embeddings."""
    respell(FIRST, narrow(checkpoint.EMBEDDINGS))(folder)


WRONG: dict[str, tuple[Spoil, str]] = {
    "another model": (
        edit("llm/config.json", lambda c: c.update(model_type="janus")), "model_type is 'janus', but .* needs 'llama'",
    ),
    "no config": (remove("llm/config.json"), "config.json: no such file"),
    "a config that is none": (edit("llm/config.json", lambda c: c.update(hidden_size="wide")), "not a config of LLaMA"),
    "a lost shard": (remove(FIRST), "00001-of-00002.*no such file"),
    "a cut shard": (cut(SECOND), "00002-of-00002.*cut off"),
    "no tokenizer": (remove("visual/tokenizer.model"), "tokenizer.model: no such file: .*seed-tokenizer-2"),
    "a broken tokenizer": (lambda f: (f / "visual/tokenizer.model").write_bytes(b"12"), "not a tokenizer of LLaMA"),
    "no added tokens": (remove("visual/added_tokens.json"), "added_tokens.json: no such file"),
    "no visual tokens": (edit("visual/added_tokens.json", lambda c: c.clear()), "lacks 66 of 64 visual tokens and two"),
    "no marker": (edit("visual/added_tokens.json", lambda c: c.pop("</img>")), "lacks 1 of 64 visual .* </img>"),
    "ids with a gap": (edit("visual/added_tokens.json", shift), "<img_00000> has the id 6076, which does not follow"),
    "LLaMA itself": (few_rows, "the language model has 3 tokens: give the folder of a SEED-LLaMA"),
    "no picture tokenizer": (remove("visual/seed_quantizer.pt"), "seed_quantizer.pt: no such file"),
    "a cut picture tokenizer": (cut("visual/seed_quantizer.pt"), "seed_quantizer.pt: not a whole file of weights"),
    "a pointer": (pointer("visual/seed_quantizer.pt"), "seed_quantizer.pt: not a file of tensors alone"),
    "a lost weight": (requantize(lambda t: t.pop("ln_vision.bias")), "seed_quantizer.pt: ln_vision.bias is missing"),
    "no pipeline": (remove("diffusion/model_index.json"), "model_index.json: no such file: .*no folder that diffusers"),
    "another pipeline": (
        edit("diffusion/model_index.json", lambda c: c.update(_class_name="StableDiffusionPipeline")),
        "'StableDiffusionPipeline', but seed_llama needs StableUnCLIPImg2ImgPipeline",
    ),
    "a lost part": (lambda f: shutil.rmtree(f / "diffusion/image_normalizer"), "image_normalizer/config.json: no such"),
    "a lost U-Net": (remove(UNET), r"unet/.*: no such file \(pickled weights will not do\): download it"),
    "a cut VAE": (cut(VAE), "vae/.* a download was cut off"),
    "a pipeline of another width": (
        edit("diffusion/unet/config.json", lambda c: c.update(projection_class_embeddings_input_dim=2048)),
        "made for embeddings of 32 .*2048, .* tokenizer gives 32: take the unCLIP pipeline",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_will_not_do_is_refused_before_weights_are_read(folder: Path, tmp_path: Path, what: str) -> None:
    spoil, message = WRONG[what]
    bad = shutil.copytree(folder, tmp_path / "bad")
    spoil(bad)
    with pytest.raises(InputError, match=message) as raised:
        make(bad, tmp_path / "ckpt")
    assert str(bad) in str(raised.value) and "\n" not in str(raised.value)
    assert not (tmp_path / "ckpt").exists()


@pytest.mark.parametrize("role", ["llm", "visual", "diffusion"])
def test_a_missing_folder_is_refused(folder: Path, tmp_path: Path, role: str) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    shutil.rmtree(copy / role)
    with pytest.raises(InputError, match=f"copy/{role}: no such folder"):
        make(copy, tmp_path / "ckpt")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "template is '': must be vicuna .* or llama2"),
        ({"template": "chatml"}, "template is 'chatml': must be vicuna"),
        (OPTIONS | {"side": 3}, "SEED-LLaMA has no such choice"),
        (OPTIONS | {"guidance": -1.0}, "guidance is -1.0: expected float, not below zero"),
    ],
)
def test_options_that_will_not_do_are_refused(
    folder: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        make(folder, tmp_path / "ckpt", options=options)


UP = "model.layers.1.mlp.up_proj.weight"
CLASS = "class_embedding.linear_1.weight"


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        (SECOND, lambda t: t.pop(UP), f"llm: {UP} is missing"),
        (SECOND, lambda t: t.update({"model.more": torch.zeros(1)}), "llm: model.more is unexpected"),
        (SECOND, narrow(UP), rf"llm: {UP} is \[3, 32\], not \[64, 32\]"),
        (UNET, lambda t: t.pop(CLASS), f"unet: {CLASS} is missing"),
        (UNET, lambda t: t.update({"more": torch.zeros(1)}), "unet: more is unexpected"),
        (VAE, narrow("decoder.conv_in.weight"), r"vae: decoder.conv_in.weight is \[3, 4, 3, 3\], not \[32, 4, 3, 3\]"),
        ("diffusion/image_normalizer/diffusion_pytorch_model.safetensors", lambda t: t.pop("std"), "std is missing"),
        ("diffusion/text_encoder/model.safetensors", lambda t: t.popitem(), "text_encoder: .* is missing"),
    ],
)
def test_weights_that_do_not_fit_are_never_left_random(
    folder: Path, codes: np.ndarray, tmp_path: Path, file: str, change: Callable, says: str
) -> None:
    bad = shutil.copytree(folder, tmp_path / "bad")
    respell(file, change)(bad)
    make(bad, tmp_path / "ckpt")
    with pytest.raises(InputError, match=says) as raised:
        checkpoint.load(tmp_path / "ckpt").render(codes[:1])
    assert str(bad) in str(raised.value) and "\n" not in str(raised.value)


def test_numbers_that_old_files_hold_are_no_weights(
    lmm: SeedLMM, folder: Path, codes: np.ndarray, tmp_path: Path
) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    places = {"text_model.embeddings.position_ids": torch.arange(16)[None]}
    respell("diffusion/text_encoder/model.safetensors", lambda t: t.update(places))(copy)
    assert (load(make(copy, tmp_path / "ckpt")).render(codes[:1]) == lmm.render(codes[:1])).all()


@pytest.mark.parametrize("role", ["llm", "visual", "diffusion"])
def test_other_weights_than_it_was_made_with_are_refused(folder: Path, tmp_path: Path, role: str) -> None:
    mine = shutil.copytree(folder, tmp_path / "mine")
    make(mine, tmp_path / "ckpt")
    change: dict[str, Spoil] = {
        "llm": respell(SECOND, lambda t: t.update({UP: t[UP] + 1})),
        "visual": requantize(lambda t: t["ln_vision.bias"].add_(1)),
        "diffusion": respell(UNET, lambda t: t.update({"conv_out.bias": t["conv_out.bias"] + 1})),
    }
    change[role](mine)
    with pytest.raises(InputError, match=f"mine/{role}: other weights than .*fingerprint"):
        models.load(tmp_path / "ckpt")
