"""`silmm adopt` on a folder as deepseek-community/Janus-Pro-1B stands on the hub: its files, names and keys, at tiny
size, and what else lies there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from transformers import JanusConfig, JanusForConditionalGeneration

from silmm import cli
from silmm import lmm as models
from silmm.lmm.interface import Sampling
from silmm.lmm.janus import layout, tiny
from silmm.lmm.janus.lmm import JanusLMM
from tests.lmm.hf import as_published

from .conftest import PROMPTS, adopted, load

FILES = [
    ".gitattributes", "README.md", "chat_template.json", "config.json", "generation_config.json", "model.safetensors",
    "preprocessor_config.json", "processor_config.json", "special_tokens_map.json", "tokenizer.json",
    "tokenizer_config.json",
]  # fmt: skip
LETTERS = "øöúÿ"  # that DeepSeek's tokenizers add, no special tokens
CUT = [  # text is cut so, more or less, before it is merged; a tokenizer class of LLaMA's would cut otherwise
    {"type": "Split", "pattern": {"Regex": "[\r\n]"}, "behavior": "Isolated", "invert": False},
    {"type": "Split", "pattern": {"Regex": "\\s?\\p{L}+"}, "behavior": "Isolated", "invert": False},
    {"type": "Digits", "individual_digits": True},
    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
]


def build(folder: Path) -> None:
    """A tiny one in bfloat16, as transformers of today writes it, with all layers of the published visual tokenizer and
    with words cut as DeepSeek's are."""
    tiny.build(folder)
    config = JanusConfig.from_pretrained(folder)
    visual = {"channel_multiplier": [1, 1, 2, 2, 4], "num_res_blocks": 2, "latent_channels": 128}
    config.vq_config.update(visual)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = JanusForConditionalGeneration(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    content = as_published.read(folder / "tokenizer.json")
    more = len(content["model"]["vocab"]) + len(content["added_tokens"])
    plain = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False, "special": False}
    content["added_tokens"] += [{"id": more + i, "content": letter, **plain} for i, letter in enumerate(LETTERS)]
    content["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": CUT}
    as_published.write(folder / "tokenizer.json", content)


def publish(folder: Path) -> None:
    """Turn it into what was published: the conversion program's generation_config.json, its time's tokenizer files."""
    as_published.turn_back(folder, "bfloat16")
    (folder / ".silmm").unlink()
    tokenizer = as_published.read(folder / "tokenizer.json")
    ids = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    named = {"image_token": tiny.IMAGE, "boi_token": tiny.BEGIN, "eoi_token": tiny.END}
    main = {"bos_token": tiny.BOS, "eos_token": tiny.EOS, "pad_token": tiny.PAD}
    as_published.write(folder / "special_tokens_map.json", {**named, **main})
    added = {
        str(token["id"]): {name: value for name, value in token.items() if name != "id"}
        for token in tokenizer["added_tokens"]
    }
    fields = {"added_tokens_decoder": added, "clean_up_tokenization_spaces": False, "extra_special_tokens": named}
    fields |= {"model_max_length": 16384, "processor_class": "JanusProcessor", **named, **main, "unk_token": None}
    fields |= {"tokenizer_class": "LlamaTokenizerFast", "use_default_system_prompt": True}
    as_published.write(folder / "tokenizer_config.json", fields)
    drawing = {"_from_model_config": False, "boi_token_id": ids[tiny.BEGIN], "guidance_scale": 5, "temperature": 1}
    of_text = {name: as_published.read(folder / "config.json")["text_config"][name] for name in ("bos_token_id",)}
    drawing |= {"pad_token_id": ids[tiny.PAD], "eos_token_id": ids[tiny.EOS], **of_text}
    as_published.write(folder / "generation_config.json", {**drawing, "transformers_version": "4.51.0"})


def does(lmm: JanusLMM) -> list[object]:
    """What a policy is asked for."""
    said = "12 øde <image_placeholder> two dogs.\n"
    ids = layout.text_ids(lmm.weights.processor, said)
    codes = lmm.draw([*PROMPTS, said], [[(0, i)] for i in range(4)], Sampling(guidance=5.0)).tokens_PNL
    answers = lmm.look([np.zeros((40, 30, 3), np.uint8)], [["Is it red?", said]])[0]
    return [ids, codes.tolist(), answers.tolist(), lmm.ask([said], max_tokens=4), lmm.render(codes[:, 0]).tolist()]


def test_adopt_walks_the_published_folder(tmp_path: Path) -> None:
    """What it then does is what the same weights do in the files of today."""
    folder = tmp_path / "Janus-Pro-1B"
    build(folder)
    wanted = does(load(adopted(folder, tmp_path / "today")))
    publish(folder)
    assert sorted(file.name for file in folder.iterdir()) == FILES
    assert as_published.names(folder) == as_published.listed(Path(__file__).with_name("converted_names.txt"))
    words = ["adopt", "--family", "janus", "--weights", str(folder), "--rank", "2", "--alpha", "4"]
    assert cli.main([*words, "--dtype", "float32", "--rows", "4", "--out", str(tmp_path / "ckpt")]) == 0
    lmm = models.load(tmp_path / "ckpt")
    assert isinstance(lmm, JanusLMM)
    assert lmm.tokenizer.convert_ids_to_tokens(lmm.weights.blank) == "<｜▁pad▁｜>"
    assert does(lmm) == wanted
    backend = json.loads(lmm.tokenizer.backend_tokenizer.to_str())
    assert backend["pre_tokenizer"]["pretokenizers"] == CUT and backend["normalizer"] is None
    assert "ø" in layout.conversation(lmm.weights.processor, "ø")
