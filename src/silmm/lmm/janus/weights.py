"""Janus' weights in memory: whole or refused, frozen, in eval mode for good."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from silmm.errors import InputError
from silmm.lmm.hf import original as publishers
from silmm.lmm.hf.folder import held
from silmm.lmm.hf.text import TextModel
from silmm.lmm.janus import layout, original
from silmm.model_sizes import on_meta
from silmm.typed_json import loads
from silmm.whole_weights import refuse_unfit

CLASS = "JanusForConditionalGeneration"
TAKE = "take the files of deepseek-community/Janus-Pro-1B or -7B, or of deepseek-ai's"


class JanusWeights(NamedTuple):
    """One model that draws, looks and writes."""

    model: Any  # transformers' model, with LoRA in place
    processor: Any
    text: TextModel
    length: int  # visual tokens of a picture
    blank: int  # id that stands for a prompt's tokens where there is none


def load(folder: Path, *, dtype: str, rows: int, device: torch.device) -> JanusWeights:
    """Load a folder, checked by `silmm.lmm.janus.checkpoint.check`. Raises InputError where weights are missing,
    unexpected or misshapen."""
    processor = load_processor(folder)
    model = _load_model(folder, dtype).to(device).requires_grad_(False).eval()
    tokenizer = processor.tokenizer
    text = TextModel(
        model.model.language_model, model.lm_head, tokenizer.pad_token_id, frozenset([tokenizer.eos_token_id]), rows
    )
    # By its name, as the authors: generation_config.json of a tune may pad with the end of the text.
    blank = tokenizer.convert_tokens_to_ids(layout.BLANK)
    return JanusWeights(model, processor, text, model.config.vq_config.num_patches**2, blank)


def load_processor(folder: Path) -> Any:
    """Tokenizer, picture processor and chat template. Raises InputError where they are not Janus'."""
    from transformers.models.janus.processing_janus import JanusProcessor

    if original.sources(folder):
        return original.processor(folder)
    try:
        return JanusProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (AttributeError, OSError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{folder}: no processor of Janus ({reason}): {TAKE}") from error


def check_tokens(folder: Path, config: Any, processor: Any) -> None:
    """Raise InputError where a token that Janus needs has no weights, or no name.

    The tokenizer's own file is asked, because a token that only tokenizer_config.json names is added on load, with an
    id that no weight was trained for.
    """
    tokenizer = processor.tokenizer
    file = folder / "tokenizer.json"
    try:
        content = loads(file.read_text(encoding="utf-8"))
        known = {token["content"] for token in content["added_tokens"]} | set(content["model"]["vocab"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: not a tokenizer ({error!r}): {TAKE}") from error
    size = config.text_config.vocab_size
    names = ("image_token", "boi_token", "eoi_token", "bos_token", "eos_token", "pad_token")
    for name, token in {"blank": layout.BLANK, **{name: getattr(tokenizer, name, None) for name in names}}.items():
        if token not in known:
            raise InputError(f"{file}: its {name} is {token!r}, which it does not hold: {TAKE}")
        if not 0 <= tokenizer.convert_tokens_to_ids(token) < size:
            raise InputError(
                f"{file}: {token} has id {tokenizer.convert_tokens_to_ids(token)}, but config.json says vocab_size"
                f" {size}: they are of different models: {TAKE}"
            )
    image = tokenizer.convert_tokens_to_ids(tokenizer.image_token)
    if config.image_token_id != image:
        raise InputError(
            f"{file}: {tokenizer.image_token} has id {image}, but config.json says image_token_id"
            f" {config.image_token_id}: they are of different models: {TAKE}"
        )


def read_config(folder: Path) -> Any:
    """The `JanusConfig`, which fills in what config.json leaves out. Raises InputError where a value is not allowed."""
    from transformers.models.janus.configuration_janus import JanusConfig

    if original.sources(folder):
        return original.config(folder)
    try:
        return JanusConfig.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # of many kinds: huggingface_hub validates each field
        reason = " ".join(str(error).split())
        raise InputError(f"{folder / 'config.json'}: not a config of Janus ({reason}): download it again") from error


def skeleton(folder: Path) -> Any:
    """The model without memory for its weights, on torch's meta device. Raises InputError where they are of a
    smaller one."""
    from transformers.models.janus.modeling_janus import JanusForConditionalGeneration

    with on_meta(folder / "config.json", held(folder)):
        return JanusForConditionalGeneration(read_config(folder))


def _load_model(folder: Path, dtype: str) -> Any:
    from transformers.models.janus.modeling_janus import JanusForConditionalGeneration

    skeleton(folder)  # which refuses a larger one: what the files lack would be made here, at any size
    if sources := original.sources(folder):
        model = publishers.empty(JanusForConditionalGeneration, original.config(folder), dtype)
        publishers.fill(model, sources)
        return model
    try:
        model, found = JanusForConditionalGeneration.from_pretrained(
            folder, dtype=dtype, attn_implementation="sdpa", use_safetensors=True, local_files_only=True,
            output_loading_info=True,
        )  # fmt: skip
    except RuntimeError as error:  # misshapen weights
        reason = " ".join(str(error).split())
        raise InputError(f"{folder}: weights that do not fit its config.json ({reason}): {TAKE}") from error
    refuse_unfit(folder, found, CLASS)
    return model
