"""DreamLLM's weights in memory: whole or refused, frozen, in eval mode for good.

The publishers' own loader leaves a plug-in at random numbers where its file is not there. Here every weight of the
language model and of all three plug-ins is looked for by name and shape before anything is made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from silmm.errors import InputError
from silmm.lmm.dreamllm import config as configs
from silmm.lmm.dreamllm import layout, painter, vision
from silmm.lmm.dreamllm.painter import Painter
from silmm.lmm.dreamllm.vision import Vision
from silmm.lmm.hf import folder as folders
from silmm.lmm.hf.pickled import read_state, same_weights, shapes_of
from silmm.lmm.hf.text import TextModel
from silmm.model_sizes import on_meta

QUERIES, QUERIES_KEY = "dream_embedding.bin", "dream_queries"
PLUGINS = (QUERIES, vision.FILE, painter.FILE)
_STALE = ".rotary_emb.inv_freq"  # kept by old versions of transformers, and computed by all of them


class DreamWeights(NamedTuple):
    """One language model, what it sees with, what it dreams with, and what paints its dreams."""

    model: Any  # transformers' LlamaForCausalLM, with LoRA in place
    tokenizer: Any
    text: TextModel
    queries_QD: Tensor
    vision: Vision
    read_painter: Callable[[], Painter]  # where a picture is drawn, or features are projected: the rest needs none


def check(folder: Path, diffusion: Path) -> None:
    """Raise InputError where a file is missing or not whole, or a weight is missing, unexpected or misshapen. Reads
    names and shapes alone."""
    check_model(folder)
    head = shapes_of(read_state(folder / painter.FILE, meta=True))
    painter.check(folder / painter.FILE, head, diffusion, configs.llama(folder).hidden_size)


def check_model(folder: Path) -> None:
    """`check` of all but the decoder."""
    found = folders.check(folder, family="dreamllm", model_type="dreamllm")
    config = configs.llama(folder)
    layout.load_tokenizer(folder)
    stored = {name: shape for name, (_, shape) in found.tensors.items() if not name.endswith(_STALE)}
    same_weights(folder, stored, shapes_of(skeleton(folder).state_dict()))
    queries, seeing = (shapes_of(read_state(folder / name, meta=True)) for name in (QUERIES, vision.FILE))
    _check_queries(folder / QUERIES, queries, config.hidden_size)
    vision.check(folder / vision.FILE, seeing, config.hidden_size, configs.select_layer(folder))


def fingerprint(role: str, folder: Path) -> str:
    """Of the model: as any, and its plug-ins. Of the pipeline: its three configs, which is all that is read of it."""
    if role == "diffusion":
        return folders.fingerprint_of(folder, painter.CONFIGS, [])
    for name in PLUGINS:
        if not (folder / name).is_file():
            raise InputError(f"{folder / name}: no such file: download it")
    weights = [*folders.weight_files(folder), *(folder / name for name in PLUGINS)]
    return folders.fingerprint_of(folder, folders.TEXTS, weights)


def skeleton(folder: Path) -> Any:
    """The language model on torch's meta device."""
    from transformers import LlamaForCausalLM

    with on_meta(folder / "config.json", folders.held(folder)):
        return LlamaForCausalLM(configs.llama(folder))


def load(folder: Path, diffusion: Path, *, dtype: str, painting: str, rows: int, device: torch.device) -> DreamWeights:
    """Load folders that `check` has seen. `painting`: dtype of U-Net and projector."""
    kind = getattr(torch, dtype)
    model = _load_model(folder, kind).to(device).requires_grad_(False).eval()
    width, tokenizer = model.config.hidden_size, layout.load_tokenizer(folder)
    queries = read_state(folder / QUERIES)[QUERIES_KEY][0]
    state = read_state(folder / vision.FILE)
    seeing = vision.load(folder / vision.FILE, state, width, configs.select_layer(folder))

    def read_painter() -> Painter:
        state = read_state(folder / painter.FILE)
        made = painter.load(folder / painter.FILE, state, diffusion, width)
        made.to(device, getattr(torch, painting)).requires_grad_(False).eval()
        _in_float32(made.vae, state)
        return made

    return DreamWeights(
        model, tokenizer,
        TextModel(model.model, model.lm_head, tokenizer.pad_token_id, frozenset([tokenizer.eos_token_id]), rows),
        queries.to(device, kind), seeing.to(device, kind).requires_grad_(False).eval(), read_painter,
    )  # fmt: skip


def _load_model(folder: Path, dtype: torch.dtype) -> Any:
    from transformers import LlamaForCausalLM

    model, found = LlamaForCausalLM.from_pretrained(
        folder, config=configs.llama(folder), dtype=dtype, attn_implementation="sdpa", use_safetensors=True,
        local_files_only=True, output_loading_info=True, ignore_mismatched_sizes=True,
    )  # fmt: skip
    lost = [*found["missing_keys"], *found["mismatched_keys"]]
    if lost:  # `check` has seen them: so the files have changed
        raise InputError(f"{folder}: {lost[0]} could not be loaded: download the folder again")
    return model


def _check_queries(file: Path, found: Mapping[str, tuple[int, ...]], width: int) -> None:
    shape = found.get(QUERIES_KEY, ())
    same_weights(file, found, {QUERIES_KEY: (1, shape[1] if len(shape) == 3 and shape[1] else 1, width)})


def _in_float32(vae: torch.nn.Module, stored: Mapping[str, Tensor]) -> None:
    """Fill the VAE anew, in float32: what was loaded before may have been rounded to 16 bits."""
    prefix = "vae."
    vae.float().load_state_dict({n.removeprefix(prefix): t for n, t in stored.items() if n.startswith(prefix)})
