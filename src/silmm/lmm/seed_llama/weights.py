"""SEED-LLaMA's language model in memory: whole or refused, frozen, in eval mode for good."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from silmm.errors import InputError
from silmm.lmm.hf.choice import head_rows
from silmm.lmm.hf.folder import held, weight_files
from silmm.lmm.hf.text import TextModel
from silmm.lmm.seed_llama import names
from silmm.lmm.seed_llama.quantizer_file import Sizes
from silmm.model_sizes import on_meta
from silmm.whole_weights import refuse_unfit

CLASS = "LlamaForCausalLM"


class SeedWeights(NamedTuple):
    """What writes, and reads and names visual tokens."""

    model: Any  # transformers' model, without LoRA or with it in place
    tokenizer: Any
    text: TextModel
    visual_C: Tensor  # id of the visual token of each code
    head_CD: Tensor  # the head's rows for these
    ids: names.Names
    template: str  # which words a conversation is put in
    length: int  # visual tokens of a picture


def load(
    llm: Path, visual: Path, sizes: Sizes, *, template: str, dtype: str, rows: int, device: torch.device
) -> SeedWeights:
    """Load the language model and, from the picture tokenizer's folder, the tokenizer of text; `sizes`: of the picture
    tokenizer. Raises InputError where weights are missing, unexpected or misshapen."""
    tokenizer = names.load_tokenizer(visual)
    model = _load_model(llm, dtype).to(device).requires_grad_(False).eval()
    ids = names.read(visual, tokenizer, codes=sizes.codes, rows=model.lm_head.out_features)
    visual_C = torch.tensor(ids.visual, device=device)
    blank = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id  # never seen
    text = TextModel(model.model, model.lm_head, blank, frozenset([tokenizer.eos_token_id]), rows)
    head_CD = head_rows(model.lm_head.weight, visual_C)
    return SeedWeights(model, tokenizer, text, visual_C, head_CD, ids, template, sizes.queries)


def skeleton(folder: Path) -> Any:
    """The language model without memory for its weights, on torch's meta device. Raises InputError where they are of a
    smaller one."""
    from transformers import LlamaForCausalLM

    with on_meta(folder / "config.json", held(folder)):
        return LlamaForCausalLM(read_config(folder))


def read_config(folder: Path) -> Any:
    """The `LlamaConfig`. Raises InputError where a value is not allowed."""
    from transformers import LlamaConfig

    try:
        return LlamaConfig.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # of many kinds: huggingface_hub validates each field
        reason = " ".join(str(error).split())
        raise InputError(f"{folder / 'config.json'}: not a config of LLaMA ({reason}): download it again") from error


def _load_model(folder: Path, dtype: str) -> Any:
    from transformers import LlamaForCausalLM

    skeleton(folder)  # which refuses a larger one: what the files lack would be made here, at any size
    safe = weight_files(folder, pickled=True)[0].suffix == ".safetensors"
    model, found = LlamaForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation="sdpa", use_safetensors=safe, weights_only=True, local_files_only=True,
        output_loading_info=True, ignore_mismatched_sizes=True,
    )  # fmt: skip
    refuse_unfit(folder, found, CLASS)
    return model
