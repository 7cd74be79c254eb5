"""Janus as deepseek-ai published it (model_type `multi_modality`; github.com/deepseek-ai/Janus), and tunes in that
layout: config, processor and names of the weights as transformers has them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from silmm.errors import InputError
from silmm.lmm.hf import original
from silmm.lmm.hf.folder import read_config
from silmm.lmm.hf.original import Layout, Rule, Source
from silmm.lmm.janus.layout import BLANK
from silmm.typed_json import loads, short

TAKE = "take the files of deepseek-ai/Janus-Pro-1B or -7B"
# Sizes that config.json has by name alone: of the vision towers (siglip_vit.py), and of the VQ models (vq_model.py).
TOWERS: dict[str, dict[str, Any]] = {
    "siglip_large_patch16_384": {
        "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "mlp_ratio": 4.0, "patch_size": 16,
    }
}  # fmt: skip
VISUAL: dict[str, dict[str, Any]] = {
    "VQ-16": {"base_channels": 128, "channel_multiplier": [1, 1, 2, 2, 4], "num_res_blocks": 2, "latent_channels": 256}
}
IMAGE, BEGIN, END = "<image_placeholder>", "<begin_of_image>", "<end_of_image>"
SPEAKERS = ("<|User|>", "<|Assistant|>"), ("User", "Assistant")  # of Janus-Pro; of Janus-1.3B, which lacks those tokens
_TOWER, _BLOCK = "vision_model.vision_tower.", "vision_model.vision_tower.blocks.#."
_LAYER = "model.vision_model.encoder.layers.#."
_CODER = (("encoder", "down"), ("decoder", "up"))
LAYOUT = Layout(
    "janus",
    "multi_modality",
    (
        Rule(_TOWER + "pos_embed", ("model.vision_model.embeddings.position_embedding.weight",), squeeze=True),
        Rule(_TOWER + "patch_embed.proj.", ("model.vision_model.embeddings.patch_embedding.",)),
        Rule(_TOWER + "norm.", ("model.vision_model.post_layernorm.",)),
        Rule(_BLOCK + "norm1.", (_LAYER + "layer_norm1.",)),
        Rule(_BLOCK + "norm2.", (_LAYER + "layer_norm2.",)),
        Rule(_BLOCK + "attn.qkv.", tuple(f"{_LAYER}self_attn.{name}_proj." for name in "qkv")),
        Rule(_BLOCK + "attn.proj.", (_LAYER + "self_attn.projection_layer.",)),
        Rule(_BLOCK + "mlp.", (_LAYER + "mlp.",)),
        Rule("aligner.layers.0.", ("model.aligner.fc1.",)),
        Rule("aligner.layers.2.", ("model.aligner.hidden_layers.0.",)),
        Rule("gen_aligner.layers.0.", ("model.generation_aligner.fc1.",)),
        Rule("gen_aligner.layers.2.", ("model.generation_aligner.hidden_layers.0.",)),
        Rule("gen_head.output_mlp_projector.", ("model.generation_head.proj_out.",)),
        Rule("gen_head.vision_head.", ("model.generation_head.vision_head.",)),
        Rule("gen_embed.", ("model.generation_embeddings.",)),
        *(
            Rule(f"gen_vision_model.{coder}.{own}", (f"model.vqmodel.{coder}.{ours}",))
            for coder, way in _CODER
            for own, ours in (
                ("conv_blocks.#.res.", f"{way}.#.block."), ("conv_blocks.#.", f"{way}.#."), ("mid.0.", "mid.block_1."),
                ("mid.1.", "mid.attn_1."), ("mid.2.", "mid.block_2."), ("", ""),
            )
        ),
        *(
            Rule(f"gen_vision_model.{name}.", (f"model.vqmodel.{name}.",))
            for name in ("quantize.embedding", "quant_conv", "post_quant_conv")
        ),
        Rule("language_model.model.", ("model.language_model.",)),
        Rule("language_model.lm_head.", ("lm_head.",)),
    ),
)  # fmt: skip


def sources(folder: Path) -> list[Source] | None:
    """The folder of weights, or None where it is in transformers' layout.

    Raises InputError where it is of another model that calls itself `multi_modality`.
    """
    if not original.is_of(folder, LAYOUT):
        return None
    fields, file = read_config(folder, "janus"), folder / "config.json"
    if "vision_gen_dec_config" in fields or "vision_und_enc_config" in fields:
        raise InputError(
            f"{file}: this is JanusFlow, which draws by a rectified flow and has no visual tokens: it is not supported;"
            f" {TAKE}"
        )
    if "gen_vision_config" not in fields:
        raise InputError(
            f"{file}: this is DeepSeek-VL or another model that looks and does not draw: it is not supported; {TAKE}"
        )
    return [Source(folder, LAYOUT)]


def template(user: str, assistant: str) -> str:
    """A chat template of turns as Janus was trained on them: a picture stands before the words, and a blank line ends
    what the user says. Ends of spaces are taken off (processing_vlm.py and conversation.py)."""
    return (
        "{%- for message in messages -%}"
        f"{{{{ '{user}: ' if message['role'] | lower == 'user' else '{assistant}: ' }}}}"
        "{%- for part in message['content'] -%}"
        "{{ '<image_placeholder>\n' if part['type'] == 'image' else part['text'] | trim }}"
        "{%- endfor -%}"
        "{{ '\n\n' if message['role'] | lower == 'user' else eos_token }}"
        "{%- endfor -%}"
        f"{{{{ '{assistant}:' if add_generation_prompt else '' }}}}"
    )


def config(folder: Path) -> Any:
    """The `JanusConfig` of the original config.json; the image token's id is that of tokenizer.json, where there is
    one. Raises InputError where a value is missing or not allowed, or a part is none that silmm knows."""
    from transformers.models.janus.configuration_janus import JanusConfig, JanusVisionConfig, JanusVQVAEConfig
    from transformers.models.llama.configuration_llama import LlamaConfig

    fields, file = read_config(folder, "janus"), folder / "config.json"
    try:
        language = {
            name: value
            for name, value in fields["language_config"].items()
            if name not in ("dtype", "torch_dtype") and not name.startswith("_")
        }
        tower, aligner, visual, painter, head = (
            fields[f"{part}_config"]["params"]
            for part in ("vision", "aligner", "gen_vision", "gen_aligner", "gen_head")
        )
        image_size, depths = tower["image_size"], (aligner["depth"], painter["depth"])
        named = (tower["model_name"], fields["gen_vision_config"]["cls"])
        if named[0] not in TOWERS or named[1] not in VISUAL or depths != (2, 2) or tower.get("select_layer", -1) != -1:
            raise InputError(
                f"{file}: vision tower {short(named[0])} up to layer {short(tower.get('select_layer', -1))}, visual"
                f" tokens of {short(named[1])}, projectors of {depths[0]} and {depths[1]} layers: Janus-Pro has"
                f" {next(iter(TOWERS))}, -1, {next(iter(VISUAL))}, 2 and 2: {TAKE}"
            )
        vocabulary, special = _vocabulary(folder)
        ids = {f"{role}_token_id": vocabulary[name] for role, name in special.items() if name in vocabulary}
        vision = JanusVisionConfig(
            **TOWERS[named[0]], image_size=image_size, projection_dim=aligner["n_embed"],
            num_image_tokens=(image_size // TOWERS[named[0]]["patch_size"]) ** 2,
        )  # fmt: skip
        vq = JanusVQVAEConfig(
            **VISUAL[named[1]], embed_dim=visual["n_embed"], num_embeddings=visual["image_token_size"],
            projection_dim=painter["n_embed"], image_token_embed_dim=head["image_token_embed"],
        )  # fmt: skip
        text = LlamaConfig(**language | ids)
        image = {"image_token_id": vocabulary[IMAGE]} if IMAGE in vocabulary else {}
        return JanusConfig(
            text_config=text, vision_config=vision, vq_config=vq, tie_word_embeddings=text.tie_word_embeddings, **image
        )
    except InputError:
        raise
    except Exception as error:  # of many kinds: huggingface_hub validates each field
        reason = " ".join(str(error).split()) if not isinstance(error, KeyError) else f"{error} is missing"
        raise InputError(f"{file}: not a config of Janus ({reason}): download it again") from error


def processor(folder: Path) -> Any:
    """The `JanusProcessor` of the original files: tokenizer.json, tokenizer_config.json and preprocessor_config.json.
    No code of the folder is run. Raises InputError where one is missing or wrong."""
    from transformers import PreTrainedTokenizerFast
    from transformers.models.janus.image_processing_pil_janus import JanusImageProcessorPil
    from transformers.models.janus.processing_janus import JanusProcessor

    shown = _read(folder / "preprocessor_config.json")
    vocabulary, special = _vocabulary(folder)
    if not vocabulary:
        raise InputError(f"{folder / 'tokenizer.json'}: no such file: download it")
    speakers = SPEAKERS[0 if all(name in vocabulary for name in SPEAKERS[0]) else 1]
    try:
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_file=str(folder / "tokenizer.json"), **{f"{role}_token": name for role, name in special.items()},
            extra_special_tokens={"image_token": IMAGE, "boi_token": BEGIN, "eoi_token": END},
        )  # fmt: skip
        tokenizer.name_or_path = str(folder)
        size = shown["image_size"]
        kept = {
            name: shown[name]
            for name in ("do_normalize", "image_mean", "image_std", "min_size", "rescale_factor")
            if name in shown
        }
        images = JanusImageProcessorPil(size={"height": size, "width": size}, **kept)
        places = config(folder).vision_config.num_image_tokens
        return JanusProcessor(
            images, tokenizer, chat_template=template(*speakers), use_default_system_prompt=True,
            num_image_tokens=places,
        )  # fmt: skip
    except InputError:
        raise
    except Exception as error:  # tokenizers' own errors are plain Exceptions
        reason = " ".join(str(error).split()) if not isinstance(error, KeyError) else f"{error} is missing"
        raise InputError(f"{folder}: no tokenizer and processor of Janus ({reason}): {TAKE}") from error


def _vocabulary(folder: Path) -> tuple[dict[str, int], dict[str, str]]:
    """Ids of tokenizer.json, nothing where there is none; the names of the tokens `bos`, `eos` and `pad`."""
    if not (folder / "tokenizer.json").is_file():
        return {}, {}
    content, named = _read(folder / "tokenizer.json"), _read(folder / "tokenizer_config.json")
    try:
        ids = dict(content["model"]["vocab"]) | {token["content"]: token["id"] for token in content["added_tokens"]}
        special = {role: _name(named.get(f"{role}_token")) for role in ("bos", "eos")}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder / 'tokenizer.json'}: not a tokenizer ({error!r}): {TAKE}") from error
    # The authors' processor takes this one by its name, whatever tokenizer_config.json says.
    return ids, special | {"pad": BLANK}


def _name(token: Any) -> str:
    return str(token["content"] if isinstance(token, Mapping) else token)


def _read(file: Path) -> dict[str, Any]:
    try:
        found = loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{file}: no such file: download it") from None
    except ValueError as error:
        raise InputError(f"{file}: not JSON ({error}): download it again") from None
    if not isinstance(found, dict):
        raise InputError(f"{file}: not a JSON object: download it again")
    return found
