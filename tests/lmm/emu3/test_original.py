"""Emu3 in its publisher's own layout: everything is equal to the same weights in transformers'."""

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
from safetensors.torch import load_file, save_file

from silmm.cli import main
from silmm.errors import InputError
from silmm.lmm.emu3 import checkpoint, original, shape, tiny
from silmm.lmm.emu3.lmm import Emu3LMM
from silmm.lmm.hf import tiktoken_file
from silmm.lmm.hf.checkpoint import adopt
from silmm.lmm.interface import Sampling

from . import publisher
from .conftest import PROMPTS, keys, make, nudged


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """In transformers' layout; both roles with the same VQ tokenizer, as published."""
    root = tmp_path_factory.mktemp("converted")
    folders = {"gen": root / "gen", "chat": root / "chat"}
    for seed, folder in enumerate(folders.values()):
        tiny.build(folder, seed=seed, specials=publisher.SPECIALS)
    states = {role: _state(folder) for role, folder in folders.items()}
    shared = {name: tensor for name, tensor in states["gen"].items() if "vqmodel." in name}
    save_file(states["chat"] | shared, folders["chat"] / "model.safetensors", {"format": "pt"})
    for file in folders["chat"].glob("model*-of-*"):
        file.unlink()
    (folders["chat"] / "model.safetensors.index.json").unlink()
    return folders


def _state(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


@pytest.fixture(scope="module")
def folders(ours: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("published")
    return {role: publisher.write(folder, root / f"Emu3-{role}") for role, folder in ours.items()}


@pytest.fixture(scope="module")
def two(
    ours: dict[str, Path], folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Emu3LMM, Emu3LMM]:
    """The same LMM of both layouts."""
    root = tmp_path_factory.mktemp("two")
    return checkpoint.load(make(ours, root / "ours")), checkpoint.load(make(folders, root / "theirs"))


def test_what_is_tested_has_the_published_names(ours: dict[str, Path]) -> None:
    """All of them but those that differ in numbers."""
    language, visual = publisher.weights(ours["gen"])
    found, wanted = (
        {re.sub(r"\d+", "#", name) for name in names} for names in (language | visual, publisher.published())
    )
    assert found == {name for name in wanted if ".nin_shortcut." not in name}  # the tiny levels are all of one width


@pytest.mark.parametrize("role", ["gen", "chat"])
def test_every_weight_is_equal(two: tuple[Emu3LMM, Emu3LMM], role: str) -> None:
    wanted, found = (getattr(lmm, role).model for lmm in two)
    assert list(found.state_dict()) == list(wanted.state_dict())
    assert all(torch.equal(found.state_dict()[name], tensor) for name, tensor in wanted.state_dict().items())
    buffers = dict(found.named_buffers())  # those that no file holds, too
    assert all(torch.equal(buffers[name], buffer) for name, buffer in wanted.named_buffers())
    assert getattr(two[1], role).text.pad == getattr(two[0], role).text.pad
    assert not any(module.training for module in found.modules())


def test_all_that_it_does_is_equal(two: tuple[Emu3LMM, Emu3LMM]) -> None:
    one, other = two
    assert one.side == other.side == tiny.SIDE
    sampling = Sampling(guidance=3.0, top_k=40)
    drawn = [lmm.draw(PROMPTS, keys(3, 2), sampling).tokens_PNL for lmm in two]
    np.testing.assert_array_equal(*drawn)
    assert len(np.unique(drawn[0])) > 10
    codes = drawn[0][:, 0]
    np.testing.assert_array_equal(one.render(codes), other.render(codes))
    with torch.no_grad():
        assert torch.equal(one.token_logps(PROMPTS, codes), other.token_logps(PROMPTS, codes))
    asked = [["Is there a red dog?", "Is it small?"], ["Is there a cat?"], []]
    for wanted, found in zip(one.answer(codes, asked), other.answer(codes, asked), strict=True):
        np.testing.assert_array_equal(wanted, found)
    assert one.yes_no_words == other.yes_no_words
    assert one.ask(PROMPTS, max_tokens=8) == other.ask(PROMPTS, max_tokens=8)
    texts = ["an oval-shaped é, 日本.\n", "(small) don't 'S?\n\n", "<|extra_200|>a<|image start|>", *PROMPTS]
    assert one.prefixes(texts) == other.prefixes(texts)
    wanted, found = (lmm.tokenizer(texts).input_ids for lmm in two)
    assert wanted == found


def test_bf16_leaves_the_vq_tokenizer_alone(ours: dict[str, Path], folders: dict[str, Path], tmp_path: Path) -> None:
    wanted, found = (
        checkpoint.load(make(roles, tmp_path / name, dtype="bfloat16")).gen.model.state_dict()
        for name, roles in (("ours", ours), ("theirs", folders))
    )
    assert all(found[name].dtype == t.dtype and torch.equal(found[name], t) for name, t in wanted.items())
    assert {t.dtype for t in found.values()} == {torch.bfloat16, torch.float32, torch.int64}


def test_one_set_of_weights_for_both_roles(folders: dict[str, Path], tmp_path: Path) -> None:
    """As Emu3-Stage1, which has no second one."""
    lmm = checkpoint.load(make({"gen": folders["gen"], "chat": folders["gen"]}, tmp_path / "ckpt"))
    assert lmm.chat is lmm.gen
    assert len(lmm.ask(["a red dog"], max_tokens=4)) == 1


def test_by_hand(folders: dict[str, Path], tmp_path: Path) -> None:
    """Adopted, drawn and asked as a user does."""
    base, pictures = str(tmp_path / "base"), tmp_path / "pictures"
    roles = ["--weights", str(folders["gen"]), "--chat", str(folders["chat"]), "--rank", "2", "--dtype", "float32"]
    assert main(["adopt", "--family", "emu3", *roles, "--seed", "0", "--out", base]) == 0
    assert main(["draw", "a red dog", "--ckpt", base, "--n", "1", "--out", str(pictures)]) == 0
    assert main(["ask", str(pictures / "sample_0.png"), "Is it red?", "--ckpt", base]) == 0


def test_what_was_learned_on_one_layout_serves_the_other(
    two: tuple[Emu3LMM, Emu3LMM], folders: dict[str, Path], tmp_path: Path
) -> None:
    ckpt, learned = make(folders, tmp_path / "ckpt"), tmp_path / "learned"
    learned.mkdir()
    codes = np.random.default_rng(0).integers(0, tiny.CODES, (3, two[0].length))
    with nudged(two[0]), torch.no_grad():
        two[0].save(learned)
        wanted = two[0].token_logps(PROMPTS, codes)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(learned / name, ckpt / name)
    with torch.no_grad():
        assert torch.equal(checkpoint.load(ckpt).token_logps(PROMPTS, codes), wanted)
    assert "from_pretrained('CONVERTED')" in (ckpt / "README.md").read_text()


def test_the_vq_tokenizer_is_found(folders: dict[str, Path], tmp_path: Path) -> None:
    """Beside the weights, in them, beside a link to them, and beside what a link leads to."""
    gen, vq = folders["gen"], folders["gen"].parent / "Emu3-VisionTokenizer"
    assert original.vision(gen) == vq
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "Emu3-Gen"
    link.symlink_to(gen)
    assert original.vision(link).resolve() == vq.resolve()
    (tmp_path / "links" / "Emu3-VisionTokenizer").symlink_to(vq)
    assert original.vision(link).parent == tmp_path / "links"
    inside = Path(shutil.copytree(gen, tmp_path / "inside"))
    shutil.copytree(vq, inside / "Emu3-VisionTokenizer")
    assert original.vision(inside).parent == inside
    lmm = checkpoint.load(make({"gen": link, "chat": inside}, tmp_path / "ckpt"))
    assert lmm.gen.factor == lmm.chat.factor == 8  # both are loaded


def test_texts_are_cut_as_published(folders: dict[str, Path]) -> None:
    """By the published pattern, and as NFC; special tokens keep their ids."""
    tokenizer = original.processor(folders["gen"]).tokenizer

    def pieces(text: str) -> list[str]:
        return [tokenizer.decode([i]) for i in tokenizer.encode(text, add_special_tokens=False)]

    cuts = {
        text: [piece for piece, _ in tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text)]
        for text in ("oval-shaped", "12 o'clock'S", "a  b\n\nc")
    }
    assert cuts == {
        "oval-shaped": ["oval", "-shaped"], "12 o'clock'S": ["1", "2", "Ġo", "'clock", "'S"],
        "a  b\n\nc": ["a", "Ġ", "Ġb", "ĊĊ", "c"],
    }  # fmt: skip
    assert pieces("a red<|extra_200|> dog") == ["a", " red", "<|extra_200|>", " dog"]
    assert tokenizer.backend_tokenizer.normalizer.normalize_str("e\u0301") == "é"
    first = tiktoken_file.count(folders["gen"] / "emu3.tiktoken")
    assert tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|extra_204|>", "<|image token|>"]) == [
        first, first + 207, first + 208,
    ]  # fmt: skip


def test_what_nothing_reads_is_said(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once, though both roles have it; with moving averages that only training used."""
    root = Path(shutil.copytree(folders["gen"].parent, tmp_path / "published"))
    mine = {role: root / folder.name for role, folder in folders.items()}
    tensors(lambda t: t.update({"quantize.ema_count": torch.zeros(9)}))(mine["gen"])
    make(mine, tmp_path / "ckpt")
    said = [line for line in capsys.readouterr().err.splitlines() if "nothing reads" in line]
    vision = root / "Emu3-VisionTokenizer"
    assert said == [f"adopt: {vision}: 1 weights that nothing reads, as quantize.ema_count: left alone"]


# ---- the published sizes ---------------------------------------------------------------------------------------------


def full_size(root: Path) -> Path:
    """Emu3-Gen and its VQ tokenizer by their names and shapes; their files have only their headers on the disk."""
    gen, vision = root / "Emu3-Gen", root / "Emu3-VisionTokenizer"
    language = {name: sizes for name, sizes in publisher.published().items() if name.startswith(("model.", "lm_head."))}
    visual = {name: sizes for name, sizes in publisher.published().items() if name not in language}
    for folder, rows, dtype, item in ((gen, language, "BF16", 2), (vision, visual, "F32", 4)):
        folder.mkdir()
        header, end = {}, 0
        for name, text in rows.items():
            sizes = [] if text == "-" else [int(size) for size in text.split(" x ")]
            for i in range(32 if "#" in name else 1):
                size = item * int(np.prod(sizes, dtype=np.int64))
                header[name.replace("#", str(i))] = {"dtype": dtype, "shape": sizes, "data_offsets": [end, end + size]}
                end += size
        content = json.dumps(header).encode()
        with (folder / "model.safetensors").open("wb") as stream:
            stream.write(len(content).to_bytes(8, "little") + content)
            stream.truncate(8 + len(content) + end)
    publisher.written(
        gen, {"config.json": {"model_type": "Emu3", "image_area": 518400}}
    )  # the rest is the authors' own
    publisher.written(vision, {"config.json": {"model_type": "Emu3VisionVQ"}, "preprocessor_config.json": {}})
    lines = [f"{base64_of(i)} {i}\n" for i in range(151643)]
    (gen / "emu3.tiktoken").write_text("".join(lines))
    names = publisher.VISION_TOKENS[:3] + [f"<|visual token {code:06d}|>" for code in range(32768)]
    (gen / "emu3_vision_tokens.txt").write_text("\n".join(names) + "\n")
    return gen


def base64_of(number: int) -> str:
    """A byte each, then pairs of two, then four: a vocabulary that can be joined."""
    import base64

    if number < 256:
        token = bytes([number])
    elif number < 256 + 65536:
        token = bytes(divmod(number - 256, 256))
    else:
        rest = number - 256 - 65536
        token = bytes(divmod(rest // 65536, 256)) + bytes(divmod(rest % 65536, 256))
    return base64.b64encode(token).decode()


def test_published_names_sizes_and_ids_are_adopted(tmp_path: Path) -> None:
    gen = full_size(tmp_path)
    adopt("emu3", {"gen": gen, "chat": gen}, tmp_path / "ckpt", rank=1, alpha=1, dtype="bfloat16", rows=1, seed=0)
    held = shape.holds("gen", gen, "bfloat16")
    assert held.missing is None and {part.name: part.numbers for part in held.parts} == {
        "picture tokenizer": 270_740_359, "language model": 8_492_011_520,
    }  # fmt: skip
    assert original.config(gen).vocabulary_map["<|visual token 000000|>"] == 151854
    for file in (*gen.iterdir(), *(tmp_path / "Emu3-VisionTokenizer").iterdir()):
        if file != gen / "config.json":
            file.unlink()
    (tmp_path / "Emu3-VisionTokenizer").rmdir()
    alone = shape.holds("gen", gen, "bfloat16")  # config.json alone is enough to plan
    assert alone.parts == held.parts and alone.missing is not None
    both = {"gen": gen, "chat": gen}
    assert shape.shape(both, {"side": 0}, "bfloat16", 4).places == 90 * 91 - 1


# ---- what is refused -------------------------------------------------------------------------------------------------


def edit(name: str, change: Callable[[Any], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        fields = json.loads((folder / name).read_text())
        change(fields)
        (folder / name).write_text(json.dumps(fields))

    return spoil


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    """In the VQ tokenizer."""

    def spoil(folder: Path) -> None:
        file = folder.parent / "Emu3-VisionTokenizer" / "model.safetensors"
        state = load_file(file)
        change(state)
        save_file(state, file)

    return spoil


def text(name: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(change((folder / name).read_text())) and None


ATTENTION = "decoder.mid.attn_1.q.weight"
WRONG: dict[str, tuple[Callable[[Path], None], str]] = {
    "no VQ tokenizer": (
        lambda f: shutil.rmtree(f.parent / "Emu3-VisionTokenizer"),
        "there is no folder .*Emu3-VisionTokenizer: download BAAI/Emu3-VisionTokenizer to there",
    ),
    "another VQ tokenizer": (
        edit("../Emu3-VisionTokenizer/config.json", lambda c: c.update(model_type="VQ")), "model_type is 'VQ', but emu3"
    ),
    "a weight is missing": (tensors(lambda t: t.pop(ATTENTION)), rf"VisionTokenizer: {ATTENTION} is missing"),
    "a weight is misshapen": (
        tensors(lambda t: t.update({ATTENTION: torch.zeros(9, 32, 1, 1)})), rf"{ATTENTION} is \[9, 32, 1, 1\], not"
    ),
    "a layer less": (
        edit("config.json", lambda c: c.update(num_hidden_layers=1)), r"model\.layers\.1\..*is unexpected"
    ),
    "a layer more": (
        edit("config.json", lambda c: c.update(num_hidden_layers=3)), r"model\.layers\.2\.\S+ is missing"
    ),
    "another id": (
        edit("config.json", lambda c: c.update(eol_token_id=5)), r"eol_token_id is 5, but .*give <\|extra_200\|> the id"
    ),
    "too few rows": (
        edit("config.json", lambda c: c.update(vocab_size=700)), r"embed_tokens.weight is \[745, 32\], not \[700, 32\]"
    ),
    "more tokens than rows": (
        text("emu3_vision_tokens.txt", lambda t: t + "<|more|>\n"), "vocab_size is 745, but .* have 746 tokens"
    ),
    "a width that is none": (edit("config.json", lambda c: c.update(hidden_size="wide")), "not a config of Emu3"),
    "sizes that cannot be": (
        edit("config.json", lambda c: c.update(num_key_value_heads=-8)), "config.json: no model can be made of it"
    ),
    "a rope that is stretched": (
        edit("config.json", lambda c: c.update(rope_scaling={"type": "linear", "factor": 2.0})), "rope_scaling is set"
    ),
    "no ranks": (lambda f: (f / "emu3.tiktoken").unlink(), "emu3.tiktoken: no such file"),
    "ranks that are none": (
        text("emu3.tiktoken", lambda t: "IQ== zero\n" + t.split("\n", 1)[1]), "line 1 is not a token"
    ),
    "ranks out of order": (
        text("emu3.tiktoken", lambda t: "\n".join(reversed(t.splitlines()))), "line 1: expected a token .* rank 0"
    ),
    "a token twice": (
        text("emu3.tiktoken", lambda t: t.replace(t.split()[2] + " 1", t.split()[0] + " 1")), "line 2: expected a token"
    ),
    "a token that none make": (
        text("emu3.tiktoken", lambda t: "\n".join([*t.splitlines()[:-1], f"enp6eg== {t.count(chr(10)) - 1}", ""])),
        "is joined from no two tokens",
    ),
    "visual tokens lost": (
        text("emu3_vision_tokens.txt", lambda t: "\n".join(t.split("\n")[:-9])),
        r"tokens.txt: lacks 8 of the 64 visual tokens .* as <\|visual token 000056\|>",
    ),
    "a special token twice": (text("emu3_vision_tokens.txt", lambda t: t + "<|extra_9|>\n"), "there twice"),
    "no picture processor": (
        lambda f: (f.parent / "Emu3-VisionTokenizer" / "preprocessor_config.json").unlink(),
        "preprocessor_config.json: no such file",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_will_not_do_is_refused_in_its_publisher_s_words(
    folders: dict[str, Path], tmp_path: Path, what: str
) -> None:
    spoil, says = WRONG[what]
    root = Path(shutil.copytree(folders["gen"].parent, tmp_path / "published"))
    mine = {role: root / folder.name for role, folder in folders.items()}
    spoil(mine["chat"])
    with pytest.raises(InputError, match=says) as error:
        make(mine, tmp_path / "ckpt")
    assert "\n" not in str(error.value) and str(root) in str(error.value)
    assert not (tmp_path / "ckpt").exists()


@pytest.mark.parametrize("change", ["emu3.tiktoken", "emu3_vision_tokens.txt", "config.json", "VQ tokenizer"])
def test_other_files_than_at_adoption_are_refused(folders: dict[str, Path], tmp_path: Path, change: str) -> None:
    root = Path(shutil.copytree(folders["gen"].parent, tmp_path / "published"))
    mine = {role: root / folder.name for role, folder in folders.items()}
    ckpt = make(mine, tmp_path / "ckpt")
    if change == "VQ tokenizer":
        tensors(lambda t: t[ATTENTION].mul_(2))(mine["gen"])
    else:
        text(change, lambda t: t + "\n")(mine["chat"])
    with pytest.raises(InputError, match="other weights than"):
        checkpoint.load(ckpt)
