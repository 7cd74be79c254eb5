"""A folder in transformers' layout, written again as BAAI would have published it, with its VQ tokenizer beside it: the
rules between the two are written here a second time, from the authors' modules, and the other way round."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers import Emu3ForConditionalGeneration

from silmm.lmm.emu3 import tiny

HERE = Path(__file__).parent
VISION_TOKENS = ["<|image token|>", "<|image start|>", "<|image end|>",
                 *(f"<|visual token {code:06d}|>" for code in range(tiny.CODES))]  # fmt: skip
# The special tokens in the published order, as the converted tokenizers have them.
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", *(f"<|extra_{i}|>" for i in range(1, 205)),
            *VISION_TOKENS]  # fmt: skip
WORDS = (  # in the names of the VQ tokenizer's weights
    ("down_block.down.", "down."), ("up_block.up.", "up."), ("middle_block.attn_norm.", "mid.attn_1.norm."),
    ("middle_block.", "mid."), (".q_proj.", ".q."), (".k_proj.", ".k."), (".v_proj.", ".v."),
    (".out_proj.", ".proj_out."),
)  # fmt: skip


def published() -> dict[str, str]:
    """Shapes of the published weights, by their names."""
    lines = (HERE / "published_weights.txt").read_text().splitlines()
    return dict(line.split(": ") for line in lines if not line.startswith("#"))


def weights(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Those of the language model and those of the VQ tokenizer, by the publisher's names."""
    language, visual = {}, {}
    for name, tensor in Emu3ForConditionalGeneration.from_pretrained(folder).state_dict().items():
        if not name.startswith("model.vqmodel."):
            language[name.replace("model.text_model.", "model.")] = tensor
            continue
        own = name.removeprefix("model.vqmodel.")
        if ".attn_norms." in own:
            place, _, number_and_rest = own.partition(".attn_norms.")
            number, _, rest = number_and_rest.partition(".")
            own = f"{place}.attn.{number}.norm.{rest}"
        if "_proj.weight" in own:  # a linear layer there, a convolution here
            tensor = tensor[:, :, None, None]
        for there, here in WORDS:
            own = own.replace(there, here)
        visual[own] = tensor
    return language, visual


def write(folder: Path, out: Path) -> Path:
    """Write the folder `out`, and `Emu3-VisionTokenizer` beside it, which two sets of weights may share."""
    language, visual = weights(folder)
    config, image = json.loads((folder / "config.json").read_text()), json.loads(
        (folder / "processor_config.json").read_text()
    )["image_processor"]  # fmt: skip
    text, vq, ids = config["text_config"], config["vq_config"], config["vocabulary_map"]
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
             "num_key_value_heads", "max_position_embeddings", "pad_token_id", "bos_token_id", "eos_token_id",
             "initializer_range")  # fmt: skip
    written(out, {
        "config.json": {name: text[name] for name in names} | {
            "model_type": "Emu3", "architectures": ["Emu3ForCausalLM"], "attention_dropout": 0.1, "hidden_act": "silu",
            "image_area": config["image_area"], "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": None,
            "rope_theta": 1000000.0, "tie_word_embeddings": False, "torch_dtype": "float32",
            "img_token_id": ids["<|image token|>"], "boi_token_id": ids["<|image start|>"],
            "eoi_token_id": ids["<|image end|>"], "eol_token_id": ids["<|extra_200|>"],
            "eof_token_id": ids["<|extra_201|>"],
            "auto_map": {"AutoConfig": "configuration_emu3.Emu3Config"},
        },
        "tokenizer_config.json": {"tokenizer_class": "Emu3Tokenizer", "padding_side": "left"},
        "generation_config.json": {"bos_token_id": 1, "do_sample": True, "eos_token_id": 2},
    })  # fmt: skip
    (out / "tokenization_emu3.py").write_text("raise SystemExit('code of the folder was run')\n")
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    ranks = sorted((rank, token) for token, rank in vocabulary.items() if token not in SPECIALS)
    lines = [f"{base64.b64encode(spelled(token)).decode()} {rank}\n" for rank, token in ranks]
    (out / "emu3.tiktoken").write_text("".join(lines))
    (out / "emu3_vision_tokens.txt").write_text("\n".join(VISION_TOKENS) + "\n")
    half = sorted(language)[::2]
    shards = [{n: t for n, t in language.items() if (n in half) == first} for first in (True, False)]
    for number, shard in enumerate(shards, 1):
        save_file(shard, out / f"model-0000{number}-of-00002.safetensors")
    places = {n: f"model-0000{1 + (n not in half)}-of-00002.safetensors" for n in language}
    (out / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    vision = out.parent / "Emu3-VisionTokenizer"
    kept = ("do_normalize", "do_rescale", "do_resize", "do_convert_rgb", "image_mean", "image_std", "max_pixels",
            "min_pixels", "resample", "rescale_factor", "spatial_factor")  # fmt: skip
    written(vision, {
        "config.json": {
            "model_type": "Emu3VisionVQ", "architectures": ["Emu3VisionVQModel"], "ch": vq["base_channels"],
            "ch_mult": vq["channel_multiplier"], "z_channels": vq["latent_channels"], "double_z": False,
            "codebook_size": vq["codebook_size"], "embed_dim": vq["embed_dim"], "in_channels": 3, "out_channels": 3,
            "attn_resolutions": [3], "dropout": 0.0, "num_res_blocks": vq["num_res_blocks"],
            "temporal_downsample_factor": 4, "torch_dtype": "float32",
        },
        "preprocessor_config.json": {name: image[name] for name in kept if name in image} | {
            "image_processor_type": "Emu3VisionVQImageProcessor",
        },
    })  # fmt: skip
    save_file({name: tensor.contiguous() for name, tensor in visual.items()}, vision / "model.safetensors")
    return out


@cache
def letters() -> dict[str, int]:
    """The byte of each letter that byte-level BPE writes bytes with, as the library shows them."""
    level, found = ByteLevel(add_prefix_space=False, use_regex=False), {}
    for number in (*range(0x80), *range(0x80, 0xD800, 61), *range(0xE000, 0x110000, 997)):
        text = chr(number)
        found |= dict(zip(level.pre_tokenize_str(text)[0][0], text.encode(), strict=True))
    return found


def spelled(token: str) -> bytes:
    """The bytes of a token."""
    return bytes(letters()[letter] for letter in token)


def written(folder: Path, files: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, fields in files.items():
        (folder / name).write_text(json.dumps(fields, indent=2) + "\n")
