"""A folder in transformers' layout, written again as deepseek-ai would have published it: the rules between the two are
written here a second time, from the authors' modules, and the other way round."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from silmm.lmm.janus import tiny

HERE = Path(__file__).parent
TOWER, VISUAL = "siglip_tiny", "VQ-tiny"  # what the tiny sizes are called: the published config has names for sizes
SIZES = {
    TOWER: {
        "hidden_size": tiny.WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4, "mlp_ratio": 2.0,
        "patch_size": tiny.PATCH,
    },
    VISUAL: {"base_channels": 32, "channel_multiplier": [1, 1, 1, 1], "num_res_blocks": 1, "latent_channels": 32},
}  # fmt: skip
PLACES = (  # of whole parts of the model, the most special first: transformers', the publisher's
    ("model.vision_model.embeddings.position_embedding.weight", "vision_model.vision_tower.pos_embed"),
    ("model.vision_model.embeddings.patch_embedding", "vision_model.vision_tower.patch_embed.proj"),
    ("model.vision_model.post_layernorm", "vision_model.vision_tower.norm"),
    ("model.vision_model.encoder.layers", "vision_model.vision_tower.blocks"),
    ("model.vqmodel", "gen_vision_model"),
    ("model.generation_aligner.fc1", "gen_aligner.layers.0"),
    ("model.generation_aligner.hidden_layers.0", "gen_aligner.layers.2"),
    ("model.aligner.fc1", "aligner.layers.0"),
    ("model.aligner.hidden_layers.0", "aligner.layers.2"),
    ("model.generation_head.proj_out", "gen_head.output_mlp_projector"),
    ("model.generation_head", "gen_head"),
    ("model.generation_embeddings", "gen_embed"),
    ("model.language_model", "language_model.model"),
    ("lm_head", "language_model.lm_head"),
)
WORDS = {  # inside a part
    "vision_model.vision_tower.blocks": (
        (".self_attn.projection_layer.", ".attn.proj."), (".layer_norm1.", ".norm1."), (".layer_norm2.", ".norm2."),
    ),
    "gen_vision_model": (
        (".encoder.down.", ".encoder.conv_blocks."), (".decoder.up.", ".decoder.conv_blocks."), (".block.", ".res."),
        (".mid.block_1.", ".mid.0."), (".mid.attn_1.", ".mid.1."), (".mid.block_2.", ".mid.2."),
    ),
}  # fmt: skip


def published() -> dict[str, tuple[str, str]]:
    """Shapes of the published weights, of 1B and 7B, by their names."""
    lines = [line for line in (HERE / "published_weights.txt").read_text().splitlines() if not line.startswith("#")]
    rows = (line.split(": ") for line in lines)
    return {name: (shapes.split(" | ")[0], shapes.split(" | ")[-1]) for name, shapes in rows}


def own_name(name: str) -> str:
    """The publisher's name of a weight, all but q, k and v of the vision tower."""
    ours, own = next((ours, own) for ours, own in PLACES if name == ours or name.startswith(f"{ours}."))
    name = own + name.removeprefix(ours)
    for there, here in WORDS.get(own, ()):
        name = name.replace(there, here)
    return name


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of a folder in transformers' layout, by the publisher's names, with those that transformers has no
    place for."""
    tensors = load_file(folder / "model.safetensors")
    out = {}
    for name, tensor in tensors.items():
        if ".self_attn.q_proj." in name and ".vision_model." in name:
            three = [tensors[name.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")]
            out[own_name(name).replace(".self_attn.q_proj.", ".attn.qkv.")] = torch.cat(three)
        elif ".vision_model." not in name or ".self_attn.projection" in name or ".self_attn." not in name:
            out[own_name(name)] = tensor
    out["vision_model.vision_tower.pos_embed"] = out["vision_model.vision_tower.pos_embed"][None]
    pool = "vision_model.vision_tower.attn_pool"
    unread = {
        f"{pool}.latent": (1, 1, 32),
        f"{pool}.kv.weight": (64, 32),
        "gen_vision_model.quantize.codebook_used": (65536,),
    }
    return out | {name: torch.zeros(shape) for name, shape in unread.items()}


def config(folder: Path) -> dict[str, Any]:
    """The config.json of a folder in transformers' layout, as the publisher has it."""
    found = json.loads((folder / "config.json").read_text())
    text, vision, visual = (found[f"{part}_config"] for part in ("text", "vision", "vq"))
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
             "max_position_embeddings", "vocab_size")  # fmt: skip

    def part(kind: str, cls: str, **params: Any) -> dict[str, Any]:
        return {"cls": cls, "model_type": kind, "params": params}

    width, projector = visual["projection_dim"], {"depth": 2, "projector_type": "mlp_gelu"}
    return {
        "architectures": ["MultiModalityCausalLM"],
        "model_type": "multi_modality",
        "torch_dtype": "bfloat16",
        "transformers_version": "4.33.1",
        "language_config": {"model_type": "llama", "torch_dtype": "bfloat16"} | {name: text[name] for name in names},
        "vision_config": part(
            "vision", "CLIPVisionTower", image_size=vision["image_size"], model_name=TOWER, select_feature="same",
            select_layer=-1,
        ),
        "aligner_config": part(
            "aligner", "MlpProjector", input_dim=vision["hidden_size"], n_embed=vision["projection_dim"], **projector
        ),
        "gen_vision_config": part(
            "gen_vision", VISUAL, image_token_size=visual["num_embeddings"], n_embed=visual["embed_dim"]
        ),
        "gen_aligner_config": part(
            "gen_aligner", "MlpProjector", input_dim=visual["embed_dim"], n_embed=width, **projector
        ),
        "gen_head_config": part(
            "gen_head", "vision_head", image_token_embed=width, image_token_size=visual["num_embeddings"], n_embed=width
        ),
    }  # fmt: skip


def texts(folder: Path, out: Path) -> None:
    """Config, tokenizer and processor."""
    processor = json.loads((folder / "processor_config.json").read_text())
    images, named = processor["image_processor"], json.loads((folder / "tokenizer_config.json").read_text())
    kept = ("do_normalize", "image_mean", "image_std", "min_size", "rescale_factor", "background_color")
    token = {"__type": "AddedToken", "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    for name, fields in {
        "config.json": config(folder),
        "preprocessor_config.json": {name: images[name] for name in kept} | {
            "image_processor_type": "VLMImageProcessor", "image_size": images["size"]["height"],
            "processor_class": "VLChatProcessor",
        },
        "processor_config.json": {
            "add_special_token": False, "ignore_id": -100, "image_tag": tiny.IMAGE, "mask_prompt": True,
            "num_image_tokens": 576, "processor_class": "VLChatProcessor", "sft_format": "deepseek",
        },
        "tokenizer_config.json": {
            "add_bos_token": True, "add_eos_token": False, "bos_token": token | {"content": named["bos_token"]},
            "eos_token": named["eos_token"], "pad_token": None, "tokenizer_class": "LlamaTokenizerFast",
            "clean_up_tokenization_spaces": False, "model_max_length": 16384, "unk_token": None,
        },
        "special_tokens_map.json": {"bos_token": named["bos_token"], "eos_token": named["eos_token"]},
    }.items():  # fmt: skip
        (out / name).write_text(json.dumps(fields, indent=2) + "\n")
    (out / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())


def write(folder: Path, out: Path, files: str = "bin") -> Path:
    """The whole folder: weights as `bin` (as Janus-Pro-1B), `bins` or `safetensors` in two shards, or in `one`
    safetensors file."""
    out.mkdir(parents=True)
    texts(folder, out)
    tensors = weights(folder)
    save: Callable[[dict[str, torch.Tensor], Path], None] = torch.save if files.startswith("bin") else save_file
    stem, end = ("pytorch_model", "bin") if files.startswith("bin") else ("model", "safetensors")
    if files in ("bin", "one"):
        save(tensors, out / f"{stem}.{end}")
        return out
    names = sorted(tensors)
    places = {name: f"{stem}-0000{1 + (i % 2)}-of-00002.{end}" for i, name in enumerate(names)}
    for file in set(places.values()):
        save({name: tensors[name].clone() for name in names if places[name] == file}, out / file)
    (out / f"{stem}.{end}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return out
