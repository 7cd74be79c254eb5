"""`silmm adopt` on folders as they are published: their names, their keys, and what silmm reads nothing of."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from silmm import cli
from silmm.lmm.dreamllm import layout
from silmm.lmm.dreamllm.lmm import DreamLMM

from .conftest import PROMPTS, load

TOWER = "clip_vision_model.vision_model."  # of transformers 4's names


@pytest.fixture
def published(weights: Path, tmp_path: Path) -> tuple[Path, Path]:
    """dreamllm-7b-chat-v1.0 and stable-diffusion-2-1-base, as their publishers' code writes them."""
    model, diffusion = (tmp_path / name for name in ("dreamllm-7b-chat-v1.0", "stable-diffusion-2-1-base"))
    shutil.copytree(weights, model)
    (model / "sd").rename(diffusion)
    _publish_config(model / "config.json")
    _publish_weights(model)
    for name in ("README.md", ".gitattributes", "trainer_state.json", "training_args.bin", "generation_config.json"):
        (model / name).write_text("{}")
    for name in ("model_index.json", "feature_extractor/preprocessor_config.json", "text_encoder/config.json"):
        (diffusion / name).parent.mkdir(exist_ok=True)
        (diffusion / name).write_text("{}")
    for name in ("v2-1_512-ema-pruned.safetensors", "unet/diffusion_pytorch_model.safetensors"):
        (diffusion / name).write_bytes(b"not read")
    return model, diffusion


def _publish_config(file: Path) -> None:
    """With all that `DreamLLMConfig` saves, and the plug-ins' own arguments."""
    config = json.loads(file.read_text())
    config["special_tokens2ids_dict"] |= {"<s>": 1, "</s>": 2, "<unk>": 0}
    config |= {"loss_weight_lm": 1.0, "loss_weight_vm": 10.0, "loss_scale_schedule": "none", "log_attentions": False}
    config |= {"log_hidden_states": False, "pretraining_tp": 1, "rope_scaling": None, "torch_dtype": "float32"}
    path = {"pretrained_model_name_or_path": "work_dirs/sft"}
    more = {
        "dream_embedding": {"embed_hidden_size": 4096, "freeze_dream_queries": False},
        "clip_vision_embedding": {"clip_vision_model_name_or_path": "openai/clip-vit-large-patch14"},
        "stable_diffusion_head": {"diffusion_name_or_path": "stabilityai/stable-diffusion-2-1-base", "drop_prob": None},
    }
    for name, given in config["plugins_init_kwargs"].items():
        given |= more[name] | path
    file.write_text(json.dumps(config))


def _publish_weights(model: Path) -> None:
    """With the numbers that old versions of transformers saved among the weights, and its old names."""
    file = model / "clip_vision_embedding.bin"
    state = torch.load(file, weights_only=True)
    old = {
        name if name.startswith(("projector", TOWER)) else TOWER + name.partition(".")[2]: t
        for name, t in state.items()
    }
    torch.save(old | {f"{TOWER}embeddings.position_ids": torch.arange(17)[None]}, file)
    index = json.loads((model / "model.safetensors.index.json").read_text())
    shard = index["weight_map"]["model.norm.weight"]
    stale = {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": torch.zeros(4) for i in range(4)}
    save_file(load_file(model / shard) | stale, model / shard, {"format": "pt"})
    index["weight_map"] |= dict.fromkeys(stale, shard)
    (model / "model.safetensors.index.json").write_text(json.dumps(index))


def test_published_folders_are_adopted(published: tuple[Path, Path], lmm: DreamLMM, tmp_path: Path) -> None:
    """As the tiny one, and with the words of LLaMA's tokenizer in the order that the model knows."""
    model, diffusion = published
    words = f"--weights {model} --diffusion {diffusion} --rank 2 --alpha 4 --dtype float32 --rows 4 --seed 0".split()
    assert cli.main(["adopt", "--family", "dreamllm", *words, "--steps", "3", "--out", str(tmp_path / "ckpt")]) == 0
    found = load(tmp_path / "ckpt")
    with torch.no_grad():
        assert torch.equal(found.features(PROMPTS), lmm.features(PROMPTS))
    ids = layout.text_ids(found.tokenizer, "hi")
    assert found.tokenizer.convert_tokens_to_ids("▁▁") == 259  # the piece that transformers would merge first
    assert found.tokenizer.convert_ids_to_tokens(ids)[:3] == ["<s>", "▁", "▁A"]
    assert ids[:8] == layout.text_ids(lmm.tokenizer, "hi")[:8]
