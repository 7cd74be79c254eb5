"""`silmm adopt` on folders as BAAI/Emu3-Gen-hf and BAAI/Emu3-Chat-hf stand on the hub: their files, names and keys, at
tiny size, and what else lies there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Emu3Config, Emu3ForConditionalGeneration

from silmm import cli
from silmm import lmm as models
from silmm.lmm.emu3 import layout, tiny
from silmm.lmm.emu3.lmm import Emu3LMM
from silmm.lmm.emu3.names import VISUAL
from silmm.lmm.interface import Sampling
from tests.lmm.emu3.conftest import keys, make
from tests.lmm.hf import as_published

# The order of the published ids: <image> took the place of <|extra_0|>.
SPECIALS = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", *(f"<|extra_{i}|>" for i in range(1, 205)),
    "<|image token|>", "<|image start|>", "<|image end|>", *(VISUAL.format(code) for code in range(tiny.CODES)),
]  # fmt: skip
FILES = [  # of Emu3-Chat-hf; the published one has eight shards
    ".gitattributes", "README.md", "chat_template.json", "config.json", "generation_config.json", "merges.txt",
    "model-00001-of-00008.safetensors", "model.safetensors.index.json", "preprocessor_config.json",
    "processor_config.json", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.json",
]  # fmt: skip


def build(folder: Path, seed: int) -> None:
    """A tiny one whose VQ tokenizer has all the published layers, as transformers of today writes it."""
    tiny.build(folder, seed=seed, specials=SPECIALS)
    for file in folder.glob("model*"):
        file.unlink()
    config = Emu3Config.from_pretrained(folder)
    visual = {"channel_multiplier": [1, 2, 2, 4], "num_res_blocks": 2, "hidden_size": 128}
    del config.image_area  # the converted ones leave it out
    config.vq_config.update(visual)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Emu3ForConditionalGeneration(config)
    model.save_pretrained(folder, max_shard_size="2MB")


def publish(folder: Path) -> None:
    """Turn it into what was published: the conversion program's tokenizer files, and its generation_config.json."""
    as_published.turn_back(folder, "float32")
    (folder / ".silmm").unlink()
    content = as_published.read(folder / "tokenizer.json")
    content["post_processor"] = None
    as_published.write(folder / "tokenizer.json", content)
    as_published.write(folder / "vocab.json", content["model"]["vocab"])
    merges = [" ".join(pair) for pair in content["model"]["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]), encoding="utf-8")
    whole = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    named = {**tiny.NAMED, "unk_token": tiny.PAD}
    main = {"bos_token": tiny.BOS, "eos_token": tiny.EOS, "pad_token": tiny.PAD}
    tokens = {name: {"content": token, **whole} for name, token in main.items()}
    as_published.write(folder / "special_tokens_map.json", {**named, **tokens})
    added = {str(token["id"]): {k: v for k, v in token.items() if k != "id"} for token in content["added_tokens"]}
    fields = {"add_prefix_space": False, "added_tokens_decoder": added, "clean_up_tokenization_spaces": False}
    fields |= {"extra_special_tokens": tiny.NAMED, "errors": "replace", "model_max_length": 10**30, **named, **main}
    fields |= {"processor_class": "Emu3Processor", "tokenizer_class": "GPT2Tokenizer"}
    as_published.write(folder / "tokenizer_config.json", fields)
    config = as_published.read(folder / "config.json")
    config["text_config"]["rope_scaling"] = {"rope_type": "default"}
    as_published.write(folder / "config.json", config)
    ids = {f"{name}_token_id": config["text_config"][f"{name}_token_id"] for name in ("pad", "eos")}
    drawing = {"do_sample": True, "max_new_tokens": 50_000, "top_k": 2048, "transformers_version": "4.48.0.dev0"}
    as_published.write(folder / "generation_config.json", {**drawing, **ids})


@pytest.fixture(scope="module")
def as_today(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("today")
    folders = {"gen": root / "Emu3-Gen-hf", "chat": root / "Emu3-Chat-hf"}
    for seed, folder in enumerate(folders.values()):
        build(folder, seed)
    return folders


def test_adopt_walks_the_published_folders(as_today: dict[str, Path], tmp_path: Path) -> None:
    """What it then does is what the same weights do in the files of today."""
    today = make(as_today, tmp_path / "today", options={"side": 32})
    expected = models.load(today)
    assert isinstance(expected, Emu3LMM)
    picture = np.zeros((32, 32, 3), np.uint8)
    text = "two heart-shaped boxes, 12 of them.\n"

    def does(lmm: Emu3LMM) -> list[object]:
        codes = lmm.draw([text], keys(1, 2), Sampling(guidance=3.0, top_k=2048)).tokens_PNL
        ids = layout.text_prefixes(lmm.chat.processor, [text])
        return [codes.tolist(), ids, lmm.look([picture], [["Is it red?"]])[0].tolist(), lmm.ask([text], max_tokens=4)]

    wanted = does(expected)  # before the files change under it
    for folder in as_today.values():
        publish(folder)
        found = {
            file.name.replace(f"-of-{len(list(folder.glob('model-*'))):05d}", "-of-00008") for file in folder.iterdir()
        }
        assert {name for name in found if "-0000" not in name or "-00001-" in name} == set(FILES)
        assert as_published.names(folder) == as_published.listed(Path(__file__).with_name("converted_names.txt"))
    words = ["adopt", "--family", "emu3", "--weights", str(as_today["gen"]), "--chat", str(as_today["chat"])]
    options = ["--side", "32", "--rank", "4", "--alpha", "8", "--dtype", "float32", "--out", str(tmp_path / "ckpt")]
    assert cli.main([*words, *options]) == 0
    lmm = models.load(tmp_path / "ckpt")
    assert isinstance(lmm, Emu3LMM)
    assert does(lmm) == wanted
    assert json.loads((tmp_path / "ckpt" / "config.json").read_text())["options"] == {"side": 32}


def test_without_a_side_the_published_ones_draw_720(as_today: dict[str, Path]) -> None:
    """Their config.json says none; the tiny one has no place for 8193 tokens, and says so."""
    from silmm.errors import InputError
    from silmm.lmm.emu3 import checkpoint

    with pytest.raises(InputError, match="side is 720 pixels, which take 8193 tokens"):
        checkpoint.side_of(as_today, {"side": 0})
