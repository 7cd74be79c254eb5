"""Janus in its publisher's own layout: everything is equal to the same weights in transformers'."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from silmm.errors import InputError
from silmm.lmm.hf.checkpoint import adopt
from silmm.lmm.interface import Sampling
from silmm.lmm.janus import layout, original, shape, tiny
from silmm.lmm.janus.lmm import JanusLMM

from . import publisher
from .conftest import PROMPTS, adopted, load, stir

FILES = ("bin", "bins", "one", "safetensors")


@pytest.fixture(autouse=True)
def tiny_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published config.json says sizes by name: so do the tiny ones."""
    monkeypatch.setitem(original.TOWERS, publisher.TOWER, publisher.SIZES[publisher.TOWER])
    monkeypatch.setitem(original.VISUAL, publisher.VISUAL, publisher.SIZES[publisher.VISUAL])


@pytest.fixture(scope="module")
def folders(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("original")
    return {files: publisher.write(weights, root / files, files) for files in FILES}


@pytest.fixture
def theirs(folders: dict[str, Path], tmp_path: Path) -> JanusLMM:
    return load(adopted(folders["bin"], tmp_path / "theirs"))


def test_what_is_tested_has_the_published_names(weights: Path) -> None:
    """All of them but those that differ in numbers, and the rest of what nothing reads."""
    found, wanted = (
        {re.sub(r"\d+", "#", name) for name in names} for names in (publisher.weights(weights), publisher.published())
    )
    same_width = {name for name in wanted if ".nin_shortcut." in name}  # the tiny levels are all of one width
    assert found - wanted == set() and wanted - found - same_width == {
        f"vision_model.vision_tower.attn_pool.{name}.{kind}"
        for name in ("kv", "mlp.fc#", "norm", "proj", "q") for kind in ("weight", "bias")
    } - {"vision_model.vision_tower.attn_pool.kv.weight"}  # fmt: skip


@pytest.mark.parametrize("files", FILES)
def test_every_weight_is_equal(lmm: JanusLMM, folders: dict[str, Path], tmp_path: Path, files: str) -> None:
    theirs = load(adopted(folders[files], tmp_path / "ckpt"))
    ours, found = lmm.weights.model.state_dict(), theirs.weights.model.state_dict()
    assert list(found) == list(ours) and all(torch.equal(found[name], ours[name]) for name in ours)
    buffers = dict(theirs.weights.model.named_buffers())  # those that no file holds, too
    assert all(torch.equal(buffers[name], buffer) for name, buffer in lmm.weights.model.named_buffers())
    assert all(not p.requires_grad for name, p in theirs.weights.model.named_parameters() if ".lora_" not in name)


def test_all_that_it_does_is_equal(
    lmm: JanusLMM, theirs: JanusLMM, codes: np.ndarray, pictures: list[np.ndarray]
) -> None:
    keys = [[("t", i, k) for k in range(2)] for i in range(3)]
    drawn = [one.draw(PROMPTS, keys, Sampling(guidance=5.0)).tokens_PNL for one in (lmm, theirs)]
    np.testing.assert_array_equal(*drawn)
    assert len(np.unique(drawn[0])) > 10
    np.testing.assert_array_equal(lmm.render(codes), theirs.render(codes))
    asked = [["Is it red?", " Is there a dog? "], ["Is it a house?"], []]
    for ours, found in zip(lmm.look(pictures, asked), theirs.look(pictures, asked), strict=True):
        np.testing.assert_array_equal(ours, found)
    with torch.no_grad():
        assert torch.equal(lmm.token_logps(PROMPTS, codes), theirs.token_logps(PROMPTS, codes))
    assert lmm.ask(PROMPTS, max_tokens=8) == theirs.ask(PROMPTS, max_tokens=8)
    assert lmm.yes_no_words == theirs.yes_no_words and lmm.weights.blank == theirs.weights.blank


def test_bf16_is_equal(weights: Path, folders: dict[str, Path], tmp_path: Path) -> None:
    ours, theirs = (
        load(adopted(folder, tmp_path / folder.name, dtype="bfloat16")) for folder in (weights, folders["bins"])
    )
    state, found = (one.weights.model.state_dict() for one in (ours, theirs))
    assert all(found[name].dtype == t.dtype and torch.equal(found[name], t) for name, t in state.items())
    buffers = dict(theirs.weights.model.named_buffers())
    assert all(buffers[name].dtype == buffer.dtype for name, buffer in ours.weights.model.named_buffers())


def test_what_was_learned_on_one_layout_serves_the_other(
    policy: JanusLMM, folders: dict[str, Path], codes: np.ndarray, tmp_path: Path
) -> None:
    """By the two files of the adapter; config.json says which weights it stands on."""
    (tmp_path / "learned").mkdir()
    policy.save(tmp_path / "learned")
    ckpt = adopted(folders["one"], tmp_path / "ckpt")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(tmp_path / "learned" / name, ckpt / name)
    with torch.no_grad():
        assert torch.equal(load(ckpt).token_logps(PROMPTS, codes), policy.token_logps(PROMPTS, codes))


def test_learning_and_saving(theirs: JanusLMM, codes: np.ndarray, tmp_path: Path) -> None:
    theirs.token_logps(PROMPTS, codes).mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in theirs.parameters())
    stir(theirs)
    (tmp_path / "saved").mkdir()
    theirs.save(tmp_path / "saved")
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "saved").token_logps(PROMPTS, codes), theirs.token_logps(PROMPTS, codes))
    card = (tmp_path / "saved" / "README.md").read_text()
    assert "from_pretrained('CONVERTED')" in card and "publisher's own layout" in card


def test_what_nothing_reads_is_said_once(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ckpt = adopted(folders["bin"], tmp_path / "ckpt")
    said = capsys.readouterr().err.strip()
    assert said == (
        f"adopt: {folders['bin']}: 3 weights that nothing reads, as vision_model.vision_tower.attn_pool.latent,"
        " vision_model.vision_tower.attn_pool.kv.weight, gen_vision_model.quantize.codebook_used: left alone"
    )
    load(ckpt)
    assert "nothing reads" not in capsys.readouterr().err


def test_speakers_are_those_that_the_tokenizer_knows(folders: dict[str, Path], weights: Path, tmp_path: Path) -> None:
    """Janus-1.3B, before Pro, has no tokens for them, and was trained with plain words."""
    older = tmp_path / "older"
    tiny.build(older, specials=[name for name in tiny.SPECIALS if name not in original.SPEAKERS[0]])
    for folder, words in ((folders["bin"], "<|User|>: a\n\n<|Assistant|>:"), (older, "User: a\n\nAssistant:")):
        if folder == older:
            folder = publisher.write(older, tmp_path / "published")
        assert layout.conversation(original.processor(folder), " a ") == words
        load(adopted(folder, tmp_path / f"{folder.name}_ckpt"))


# ---- the published sizes ---------------------------------------------------------------------------------------------


def full_size(which: int, weights: Path, out: Path) -> Path:
    """Janus-Pro-1B or -7B by its names and shapes, whose file has nothing but its header on the disk."""
    out.mkdir()
    publisher.texts(weights, out)
    width, layers = (2048, 4096)[which], (24, 30)[which]
    fields = json.loads((out / "config.json").read_text())
    fields["vision_config"]["params"] |= {"model_name": "siglip_large_patch16_384", "image_size": 384}
    fields["gen_vision_config"] |= {"cls": "VQ-16", "params": {"image_token_size": 16384, "n_embed": 8}}
    fields["aligner_config"]["params"] |= {"input_dim": 1024, "n_embed": width}
    fields["gen_aligner_config"]["params"] |= {"input_dim": 8, "n_embed": width}
    fields["gen_head_config"]["params"] = {"image_token_embed": width, "image_token_size": 16384, "n_embed": width}
    language = {"max_position_embeddings": 16384, "model_type": "llama", "num_hidden_layers": layers,
                "torch_dtype": "bfloat16", "vocab_size": 102400}  # fmt: skip
    if which == 0:  # that of 7B leaves the rest to LlamaConfig, as here
        language |= {
            "hidden_size": 2048,
            "intermediate_size": 5632,
            "num_attention_heads": 16,
            "num_key_value_heads": 16,
        }
    (out / "config.json").write_text(json.dumps(fields | {"language_config": language}))
    header, end = {}, 0
    for name, shapes in publisher.published().items():
        sizes = [int(size) for size in shapes[which].split(" x ")]
        for i in range({"vision_model": 24, "language_model": layers}[name.split(".")[0]] if "#" in name else 1):
            size = 2 * int(np.prod(sizes))
            header[name.replace("#", str(i))] = {"dtype": "BF16", "shape": sizes, "data_offsets": [end, end + size]}
            end += size
    text = json.dumps(header).encode()
    with (out / "model.safetensors").open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.truncate(8 + len(text) + end)
    return out


@pytest.mark.parametrize(("which", "numbers"), [(0, 2_076_636_811), (1, 7_407_773_323)])
def test_published_names_and_sizes_are_adopted(weights: Path, tmp_path: Path, which: int, numbers: int) -> None:
    folder = full_size(which, weights, tmp_path / "weights")
    adopt("janus", {"model": folder}, tmp_path / "ckpt", rank=1, alpha=1, dtype="bfloat16", rows=1, seed=0)
    held = shape.holds("model", folder, "bfloat16")
    assert held.missing is None and sum(part.numbers for part in held.parts) == numbers
    (folder / "model.safetensors").unlink()
    for file in folder.iterdir():
        if file.name != "config.json":
            file.unlink()
    alone = shape.holds("model", folder, "bfloat16")  # config.json alone is enough to plan
    assert alone.parts == held.parts and alone.missing is not None
    assert shape.shape({"model": folder}, {}, "bfloat16", 4).codes == 16384


# ---- what is refused -------------------------------------------------------------------------------------------------


def edit(name: str, change: Callable[[Any], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        fields = json.loads((folder / name).read_text())
        change(fields)
        (folder / name).write_text(json.dumps(fields))

    return spoil


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        state = torch.load(folder / "pytorch_model.bin", weights_only=True)
        change(state)
        torch.save(state, folder / "pytorch_model.bin")

    return spoil


QKV = "vision_model.vision_tower.blocks.1.attn.qkv.weight"
WRONG: dict[str, tuple[Callable[[Path], None], str]] = {
    "q, k and v are missing": (tensors(lambda t: t.pop(QKV)), rf"{QKV} is missing"),
    "q, k and v misshapen": (
        tensors(lambda t: t.update({QKV: torch.zeros(97, 32)})), rf"{QKV} is \[97, 32\], not \[96, 32\]"
    ),
    "places misshapen": (
        tensors(lambda t: t.update({"vision_model.vision_tower.pos_embed": torch.zeros(1, 9, 32)})),
        r"pos_embed is \[1, 9, 32\], not",
    ),
    "a layer more": (
        tensors(lambda t: t.update({"language_model.model.layers.2.input_layernorm.weight": torch.zeros(32)})),
        r"language_model\.model\.layers\.2\.input_layernorm\.weight is unexpected",
    ),
    "a layer less": (
        edit("config.json", lambda c: c["language_config"].update(num_hidden_layers=1)), r"layers\.1\..* is unexpected"
    ),
    "LoRA that was not merged": (
        tensors(lambda t: t.update({"language_model.model.layers.0.mlp.up_proj.lora_A.weight": torch.zeros(2, 32)})),
        "lora_A.weight is unexpected",
    ),
    "JanusFlow": (
        edit("config.json", lambda c: c.update(vision_gen_dec_config={}, vision_und_enc_config={})),
        "this is JanusFlow, which draws by a rectified flow",
    ),
    "DeepSeek-VL": (
        edit("config.json", lambda c: [c.pop(f"gen_{part}_config") for part in ("vision", "aligner", "head")]),
        "this is DeepSeek-VL or another model that looks and does not draw",
    ),
    "another tower": (
        edit("config.json", lambda c: c["vision_config"]["params"].update(model_name="siglip_so400m_patch14_384")),
        "vision tower 'siglip_so400m_patch14_384' up to layer -1.*Janus-Pro has siglip_large_patch16_384",
    ),
    "a part is missing": (edit("config.json", lambda c: c.pop("gen_head_config")), "'gen_head_config' is missing"),
    "a width that is none": (
        edit("config.json", lambda c: c["language_config"].update(hidden_size="wide")), "not a config of Janus.*hidden"
    ),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "tokenizer.json: no such file"),
    "no picture processor": (
        lambda f: (f / "preprocessor_config.json").unlink(), "preprocessor_config.json: no such file"
    ),
    "no size of pictures": (
        edit("preprocessor_config.json", lambda c: c.pop("image_size")), "'image_size' is missing"
    ),
    "a pickle of more than tensors": (
        lambda f: torch.save({"a": Path("b")}, f / "pytorch_model.bin"), "pytorch_model.bin: not a file of tensors"
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_will_not_do_is_refused_in_its_publisher_s_words(
    folders: dict[str, Path], tmp_path: Path, what: str
) -> None:
    spoil, says = WRONG[what]
    folder = Path(shutil.copytree(folders["bin"], tmp_path / "weights"))
    spoil(folder)
    with pytest.raises(InputError, match=says) as error:
        adopted(folder, tmp_path / "ckpt")
    assert "\n" not in str(error.value) and str(folder) in str(error.value)
    assert not (tmp_path / "ckpt").exists()


@pytest.mark.parametrize("change", ["weights", "tokenizer.json", "preprocessor_config.json", "config.json"])
def test_other_files_than_at_adoption_are_refused(folders: dict[str, Path], tmp_path: Path, change: str) -> None:
    folder = Path(shutil.copytree(folders["bin"], tmp_path / "weights"))
    ckpt = adopted(folder, tmp_path / "ckpt")
    if change == "weights":
        tensors(lambda t: t["language_model.lm_head.weight"].mul_(2))(folder)
    else:
        (folder / change).write_text((folder / change).read_text() + " ")
    with pytest.raises(InputError, match="other weights than"):
        load(ckpt)
