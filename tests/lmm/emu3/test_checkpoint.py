"""Checkpoints: what is saved is what is loaded, and what will not do is refused in one line that says why."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import Emu3ForConditionalGeneration

from silmm import lmm as models
from silmm.errors import InputError
from silmm.lmm.emu3 import checkpoint, tiny
from silmm.lmm.emu3.lmm import Emu3LMM
from silmm.lmm.hf.lora import weights
from silmm.lmm.interface import Sampling
from tests.lmm.emu3.conftest import PROMPTS, keys, make, nudged

CODES = np.random.default_rng(0).integers(0, 64, (3, 16))


def test_saved_and_loaded_again(lmm: Emu3LMM, tmp_path: Path) -> None:
    with nudged(lmm), torch.no_grad():
        lmm.save(tmp_path)
        expected = lmm.token_logps(PROMPTS, CODES)
    again = models.load(tmp_path)
    assert isinstance(again, Emu3LMM)
    with torch.no_grad():
        assert torch.equal(again.token_logps(PROMPTS, CODES), expected)
        assert not torch.equal(lmm.token_logps(PROMPTS, CODES), expected)
    size = sum(f.stat().st_size for f in tmp_path.iterdir())
    assert size < 100_000  # LoRA alone


def test_peft_reads_what_is_saved(lmm: Emu3LMM, folders: dict[str, Path], tmp_path: Path) -> None:
    """As the model card says, without silmm."""
    ids = torch.arange(20, 60)[None]
    with nudged(lmm), torch.no_grad():
        lmm.save(tmp_path)
        expected = lmm.gen.model(input_ids=ids).logits
    base = Emu3ForConditionalGeneration.from_pretrained(folders["gen"])
    with torch.no_grad():
        before = base(input_ids=ids).logits
        found = PeftModel.from_pretrained(base, tmp_path).eval()(input_ids=ids).logits
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(before, expected, atol=0.1)


def test_one_seed_gives_one_checkpoint(folders: dict[str, Path], adopted: Path, tmp_path: Path) -> None:
    again, other = make(folders, tmp_path / "again"), make(folders, tmp_path / "other", seed=1)
    names = sorted(f.name for f in adopted.iterdir())
    assert all((adopted / n).read_bytes() == (again / n).read_bytes() for n in names)
    assert {n for n in names if (adopted / n).read_bytes() != (other / n).read_bytes()} == {"adapter_model.safetensors"}


def test_lora_is_on_the_language_model_alone(lmm: Emu3LMM) -> None:
    assert all("text_model.layers" in name for name in weights(lmm.adapted))
    assert all((w == 0).all() for name, w in weights(lmm.adapted).items() if ".lora_B." in name)


def test_one_seed_gives_one_tiny_folder(folders: dict[str, Path], tmp_path: Path) -> None:
    tiny.main(["--out", str(tmp_path / "again"), "--seed", "0"])
    files = sorted(f.name for f in folders["gen"].iterdir())
    assert files == sorted(f.name for f in (tmp_path / "again").iterdir())
    assert all((folders["gen"] / n).read_bytes() == (tmp_path / "again" / n).read_bytes() for n in files)
    shard = "model-00001-of-00002.safetensors"
    assert (folders["gen"] / shard).read_bytes() != (folders["chat"] / shard).read_bytes()


def test_bfloat16(folders: dict[str, Path], lmm: Emu3LMM, tmp_path: Path) -> None:
    """The language model in 16 bits, LoRA and the VQ tokenizer in 32; every method runs."""
    small = checkpoint.load(make(folders, tmp_path / "ckpt", dtype="bfloat16"))
    model = small.gen.model.model
    assert small.gen.head_CD.dtype == model.text_model.embed_tokens.weight.dtype == torch.bfloat16
    assert {p.dtype for p in small.parameters()} == {torch.float32}
    visual = small.gen.model.model.vqmodel.state_dict()
    assert all(torch.equal(visual[n], t) for n, t in lmm.gen.model.model.vqmodel.state_dict().items())
    with torch.no_grad():
        expected = lmm.token_logps(PROMPTS, CODES)
    logps = small.token_logps(PROMPTS, CODES)
    assert logps.dtype == torch.float32
    difference = (logps.detach() - expected).abs()
    assert difference.mean() < 0.15 and difference.max() < 1.0  # of sharpened weights in 8 bits of precision
    logps.sum().backward()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in small.parameters())
    codes = small.draw(PROMPTS[:1], keys(1, 2), Sampling(guidance=3.0, top_k=32)).tokens_PNL[0]
    (one, _) = small.answer(codes, [["Is there a dog?"], []])
    assert one.shape == (1, 2) and (one > 0).all()
    assert small.write(["color"], [("a", 1)], temperature=1.0)


# ---- what is refused -----------------------------------------------------------------------------------------------

Spoil = Callable[[Path], object]


def edit(name: str, change: Callable[[dict], object]) -> Spoil:
    """Change a JSON file in place."""

    def spoil(folder: Path) -> None:
        fields = json.loads((folder / name).read_text())
        change(fields)
        (folder / name).write_text(json.dumps(fields))

    return spoil


def without_visual_tokens(fields: dict) -> None:
    """Of tokenizer.json: all of them and those of one number."""
    fields["added_tokens"] = [t for t in fields["added_tokens"] if "visual token" not in t["content"]]
    fields["model"]["vocab"] = {n: i for n, i in fields["model"]["vocab"].items() if "visual token" not in n}


def swapped(fields: dict) -> None:
    """Of config.json: two visual tokens' ids."""
    ids, (one, other) = fields["vocabulary_map"], ("<|visual token 000003|>", "<|visual token 000004|>")
    ids[one], ids[other] = ids[other], ids[one]


def cut(folder: Path) -> None:
    shard = folder / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1000])


WRONG: dict[str, tuple[Spoil, str]] = {
    "another family": (edit("config.json", lambda c: c.update(model_type="janus")), "model_type is 'janus'.*'emu3'"),
    "half the original layout": (
        edit("config.json", lambda c: c.update(model_type="Emu3")), "which has its VQ tokenizer apart"
    ),
    "no config": (lambda f: (f / "config.json").unlink(), "config.json: no such file"),
    "a lost shard": (lambda f: (f / "model-00001-of-00002.safetensors").unlink(), "00001-of-00002.*no such file"),
    "a cut shard": (cut, "00002-of-00002.*cut off"),
    "no processor": (lambda f: (f / "processor_config.json").unlink(), "no processor of Emu3"),
    "no visual tokens": (edit("tokenizer.json", without_visual_tokens), "tokenizer.json.* lacks 64 of .*visual tokens"),
    "no name for the image's start": (
        edit("tokenizer_config.json", lambda c: c.pop("boi_token")), "no processor of Emu3.*boi_token",
    ),
    "no map": (edit("config.json", lambda c: c.update(vocabulary_map=None)), "config.json: no vocabulary_map"),
    "a map that lacks one": (
        edit("config.json", lambda c: c["vocabulary_map"].pop("<|visual token 000007|>")),
        r"config.json: vocabulary_map lacks 1 of .*<\|visual token 000007\|>",
    ),
    "a map that lacks the end of line": (
        edit("config.json", lambda c: c["vocabulary_map"].pop("<|extra_200|>")), r"lacks 1 of .*<\|extra_200\|>",
    ),
    "two that disagree": (edit("config.json", swapped), "give visual tokens different ids"),
    "a config that is none": (
        edit("config.json", lambda c: c["text_config"].update(hidden_size="wide")), "not a config of Emu3.*hidden_size",
    ),
    "a template without picture": (
        lambda f: (f / "chat_template.jinja").write_text("TODO: should be almost same as llava"), "chat template",
    ),
    "a template with the picture last": (
        lambda f: (f / "chat_template.jinja").write_text(
            "{% for m in messages %}{% for p in m['content'] if p['type'] == 'text' %}{{ p['text'] }}{% endfor %}"
            "{% endfor %}<image>ASSISTANT:"
        ),
        "does not put a picture before the question",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_will_not_do_is_refused_before_weights_are_read(
    folders: dict[str, Path], tmp_path: Path, what: str
) -> None:
    spoil, message = WRONG[what]
    bad = tmp_path / "bad"
    shutil.copytree(folders["chat"], bad)
    spoil(bad)
    with pytest.raises(InputError, match=message) as raised:
        make(folders | {"chat": bad}, tmp_path / "ckpt")
    assert str(bad) in str(raised.value) and "\n" not in str(raised.value)
    assert not (tmp_path / "ckpt").exists()


def test_a_missing_folder_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        make(folders | {"chat": tmp_path / "nothing"}, tmp_path / "ckpt")
    with pytest.raises(InputError, match="roles are gen: expected chat, gen"):
        make({"gen": folders["gen"]}, tmp_path / "ckpt")


@pytest.mark.parametrize(
    ("side", "message"),
    [(30, "multiple"), (720, "8193 tokens.*2048 at most"), (-8, "expected int, not below zero")],
)
def test_a_side_that_cannot_be_drawn_is_refused(
    folders: dict[str, Path], tmp_path: Path, side: int, message: str
) -> None:
    with pytest.raises(InputError, match=f"side is {side}.*{message}"):
        make(folders, tmp_path / "ckpt", options={"side": side})


def test_another_side_may_be_chosen(folders: dict[str, Path], lmm: Emu3LMM, tmp_path: Path) -> None:
    assert (lmm.settings.options, lmm.side) == ({"side": 0}, 32)  # as the tiny config.json says
    make(folders, tmp_path / "ckpt", options={"side": 48})
    assert checkpoint.side_of(folders, json.loads((tmp_path / "ckpt" / "config.json").read_text())["options"]) == 48


def test_pictures_of_another_side_are_refused(lmm: Emu3LMM) -> None:
    drawn = np.zeros((1, 36), np.int64)
    for use in (lambda: lmm.render(drawn), lambda: lmm.token_logps(PROMPTS[:1], drawn)):
        with pytest.raises(InputError, match="36 visual tokens.*16"):
            use()


@pytest.mark.parametrize("change", ["missing", "unexpected", "misshapen"])
def test_weights_that_do_not_fit_are_refused_when_read(folders: dict[str, Path], tmp_path: Path, change: str) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(folders["chat"], bad)
    index = json.loads((bad / "model.safetensors.index.json").read_text())
    name = "text_model.model.layers.0.mlp.up_proj.weight"  # as the published files have it
    shard = bad / index["weight_map"][name]
    tensors = load_file(shard)
    if change == "missing":
        del tensors[name], index["weight_map"][name]
    elif change == "unexpected":
        name += ".more"
        tensors[name], index["weight_map"][name] = torch.zeros(1), shard.name
    else:
        tensors[name] = tensors[name][:3].clone()
    save_file(tensors, shard, {"format": "pt"})
    (bad / "model.safetensors.index.json").write_text(json.dumps(index))
    make(folders | {"chat": bad}, tmp_path / "ckpt")
    lmm = checkpoint.load(tmp_path / "ckpt")
    with pytest.raises(InputError) as raised:
        lmm.ask(["a cat"], max_tokens=2)
    assert (
        str(bad) in str(raised.value) and "layers.0.mlp.up_proj" in str(raised.value) and "\n" not in str(raised.value)
    )


def test_other_weights_than_it_was_made_with_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    mine = tmp_path / "chat"
    shutil.copytree(folders["chat"], mine)
    make(folders | {"chat": mine}, tmp_path / "ckpt")
    shutil.rmtree(mine)
    shutil.copytree(folders["gen"], mine)
    with pytest.raises(InputError, match="fingerprint"):
        models.load(tmp_path / "ckpt")
    shutil.rmtree(mine)
    with pytest.raises(InputError, match=r"weights\.chat is .*no such folder"):
        models.load(tmp_path / "ckpt")


def test_each_role_is_read_when_it_is_needed(adopted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing goes without the weights that draw, drawing without those that write: 17 GB of the published ones."""
    from silmm.lmm.emu3 import weights

    read: list[str] = []
    load = weights.load
    monkeypatch.setattr(weights, "load", lambda folder, **more: read.append(folder.name) or load(folder, **more))
    writing, drawing = checkpoint.load(adopted), checkpoint.load(adopted)
    assert read == []
    writing.ask(["a cat"], max_tokens=2)
    assert read == ["chat"]
    drawing.draw(["a cat"], keys(1, 1), Sampling())
    assert read == ["chat", "gen"]
