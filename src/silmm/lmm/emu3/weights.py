"""One set of Emu3's weights in memory: whole or refused, frozen, in eval mode for good.

Emu3's modules must never be in training mode: `attention_dropout` (0.1) would act on every residual, and the VQ
encoder's BatchNorm would take the batch's statistics and move its own, after which the same picture has other codes.
The VQ tokenizer stays in float32, as the reference runs it: codes are nearest neighbours, which rounding changes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from silmm.errors import InputError
from silmm.lmm.emu3 import names, original
from silmm.lmm.emu3.tokenizer import cut_as_published
from silmm.lmm.hf import original as publishers
from silmm.lmm.hf.choice import head_rows
from silmm.lmm.hf.folder import held, weight_files
from silmm.lmm.hf.text import TextModel
from silmm.model_sizes import on_meta
from silmm.whole_weights import refuse_unfit

CLASS = "Emu3ForConditionalGeneration"


class Emu3Weights(NamedTuple):
    """What draws, or what writes and looks."""

    model: Any  # transformers' model, without LoRA or with it in place
    processor: Any
    text: TextModel
    visual_C: Tensor  # id of the visual token of each code
    head_CD: Tensor  # the head's rows for these
    end_of_line: int
    factor: int  # pixels along a visual token's side


def load(folder: Path, *, dtype: str, rows: int, device: torch.device) -> Emu3Weights:
    """Load a folder, checked by `silmm.lmm.emu3.checkpoint.check`. Raises InputError where weights are missing,
    unexpected or misshapen."""
    processor = load_processor(folder)
    model = _load_model(folder, dtype).to(device).requires_grad_(False).eval()
    tokenizer = processor.tokenizer
    ids = names.read(folder, model.config, tokenizer)
    visual_C = torch.tensor(ids.visual, device=device)
    text = TextModel(
        model.model.text_model, model.lm_head, tokenizer.pad_token_id, frozenset([tokenizer.eos_token_id]), rows
    )
    factor = model.model.vqmodel.spatial_scale_factor
    return Emu3Weights(
        model, processor, text, visual_C, head_rows(model.lm_head.weight, visual_C), ids.end_of_line, factor
    )


def load_processor(folder: Path) -> Any:
    """Tokenizer, picture processor and chat template. Raises InputError where they are not Emu3's."""
    from transformers import Emu3Processor

    if original.sources(folder):
        return original.processor(folder)
    try:
        processor = Emu3Processor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        cut_as_published(processor.tokenizer.backend_tokenizer)
    except (AttributeError, OSError, TypeError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise InputError(
            f"{folder}: no processor of Emu3 ({reason}): download tokenizer and processor again"
        ) from error
    return processor


def read_config(folder: Path) -> Any:
    """The `Emu3Config`, which fills in what config.json leaves out. Raises InputError where a value is not allowed."""
    from transformers import Emu3Config

    if original.sources(folder):
        return original.config(folder)
    try:
        return Emu3Config.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # of many kinds: huggingface_hub validates each field
        reason = " ".join(str(error).split())
        raise InputError(f"{folder / 'config.json'}: not a config of Emu3 ({reason}): download it again") from error


def skeleton(folder: Path) -> Any:
    """The model without memory for its weights, on torch's meta device. Raises InputError where they are of a
    smaller one."""
    from transformers import Emu3ForConditionalGeneration

    with on_meta(folder / "config.json", held(folder)):
        return Emu3ForConditionalGeneration(read_config(folder))


def _load_model(folder: Path, dtype: str) -> Any:
    from transformers import Emu3ForConditionalGeneration

    skeleton(folder)  # which refuses a larger one: what the files lack would be made here, at any size
    if sources := original.sources(folder):
        model = publishers.empty(Emu3ForConditionalGeneration, original.config(folder), dtype)
        model.model.vqmodel.float()
        publishers.fill(model, sources)
        return model
    model, found = Emu3ForConditionalGeneration.from_pretrained(
        folder, dtype=dtype, attn_implementation="sdpa", use_safetensors=True, local_files_only=True,
        output_loading_info=True, ignore_mismatched_sizes=True,
    )  # fmt: skip
    refuse_unfit(folder, found, CLASS)
    if dtype != "float32":
        _load_visual(model.model.vqmodel.float(), folder)
    return model


def _load_visual(vqmodel: torch.nn.Module, folder: Path) -> None:
    """Fill the VQ tokenizer anew: what was loaded before has been rounded to 16 bits."""
    tensors: dict[str, Tensor] = {}
    for file in weight_files(folder):
        with safe_open(file, "pt") as opened:
            names_of = [name for name in opened.keys() if "vqmodel." in name]  # noqa: SIM118 (it is no dictionary)
            tensors |= {name.split("vqmodel.")[1]: opened.get_tensor(name) for name in names_of}
    vqmodel.load_state_dict(tensors)
