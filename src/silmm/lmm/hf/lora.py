"""LoRA (Hu et al., arXiv 2106.09685) by peft: float32 adapters on a frozen base; with them off, the base is back."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from silmm import rng as keyed
from silmm import tensor_files
from silmm.errors import InputError
from silmm.tensor_files import saving
from silmm.typed_json import loads
from silmm.weight_files import read_header
from silmm.whole_weights import differences, listed

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"  # peft's own names


def attach(model: nn.Module, *, regex: str, rank: int, alpha: int, seed: int | None) -> Any:
    """Freeze a transformers model and put LoRA on the linear layers whose whole name matches; a peft `PeftModel`.

    B is zero, so that the adapted model is the base; A is drawn keyed by the seed and the layer's name, or left at zero
    without a seed (`restore` fills both). Nothing but A and B has gradients. The model may be on the meta device.

    Raises InputError where no layer matches, or the rank is not above zero.
    """
    from peft import LoraConfig, get_peft_model

    if rank < 1 or alpha < 1:
        raise InputError(f"lora: rank is {rank} and alpha is {alpha}: both must be at least 1")
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=regex, init_lora_weights=False)
    try:
        with warnings.catch_warnings():  # peft 0.21 calls names that transformers 5.23 has renamed
            warnings.simplefilter("ignore", FutureWarning)
            adapted = get_peft_model(model, config)
    except ValueError as error:
        raise InputError(f"lora: no layer of {type(model).__name__} matches {regex!r} ({error})") from error
    if any(p.device.type != "meta" for p in parameters(adapted)):
        shapes = {name: tuple(t.shape) for name, t in weights(adapted).items()}
        _put(adapted, initial(shapes, seed))
    return adapted.eval()


def initial(shapes: dict[str, tuple[int, ...]], seed: int | None) -> dict[str, Tensor]:
    """Fresh weights: B zero, A uniform within +-1 / sqrt(inputs) as peft draws it, or zero without a seed."""
    out = {}
    for name, shape in sorted(shapes.items()):
        out[name] = torch.zeros(shape)
        if seed is not None and ".lora_A." in name:
            draw = keyed.generator(seed, "lora", name).random(shape, dtype=np.float32)
            out[name] = torch.from_numpy((2 * draw - 1) / np.float32(shape[1]) ** 0.5)
    return out


def parameters(model: nn.Module) -> list[nn.Parameter]:
    """The LoRA weights, float32, in the order of their names."""
    named = sorted((name, p) for name, p in model.named_parameters() if ".lora_" in name)
    return [p for _, p in named]


def weights(model: Any) -> dict[str, Tensor]:
    """The LoRA weights under the names that peft's files have."""
    from peft import get_peft_model_state_dict

    return dict(sorted(get_peft_model_state_dict(model, save_embedding_layers=False).items()))


def save(model: Any, folder: Path, *, base: str) -> None:
    """Write peft's two files, for `restore` and for `PeftModel.from_pretrained`; `base`: where the weights are."""
    tensors = {name: t.detach().float().cpu().contiguous() for name, t in weights(model).items()}
    write(tensors, model.peft_config["default"], folder, base=base)


def write(tensors: dict[str, Tensor], config: Any, folder: Path, *, base: str) -> None:
    """Write peft's two files from weights and a `LoraConfig`."""
    with saving(folder / WEIGHTS):
        save_file(tensors, str(folder / WEIGHTS), {"format": "pt"})
    fields = config.to_dict() | {"base_model_name_or_path": base, "inference_mode": True}
    text = json.dumps(fields, indent=1, sort_keys=True, default=sorted)  # peft keeps sets, whose order varies
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def restore(model: Any, folder: Path) -> None:
    """Fill an attached model's LoRA from a folder.

    Raises InputError where a file is missing or damaged, its rank or alpha is another, or a weight is missing,
    unexpected or misshapen.
    """
    own = model.peft_config["default"]
    file = folder / CONFIG
    try:
        found = loads(file.read_text(encoding="utf-8"))
        kept = tensor_files.load(folder / WEIGHTS, load_file)
    except FileNotFoundError as error:
        raise InputError(f"{error.filename or folder / WEIGHTS}: no such file: {folder} is not whole") from None
    except ValueError as error:
        raise InputError(f"{folder}: {CONFIG} or {WEIGHTS} is damaged ({error})") from error
    for key, value in (("r", own.r), ("lora_alpha", own.lora_alpha)):
        if found.get(key) != value:
            raise InputError(f"{file}: {key} is {found.get(key)!r}, but config.json beside it says {value}")
    shapes = {name: tuple(t.shape) for name, t in weights(model).items()}
    if problems := differences({name: tuple(t.shape) for name, t in kept.items()}, shapes):
        raise InputError(f"{folder / WEIGHTS}: {listed(problems)}: the adapter is of another model")
    _put(model, kept)


def check_rank(folder: Path, rank: int) -> None:
    """InputError where the header of a folder's LoRA says another rank than this one: `attach` makes room for it before
    `restore` looks."""
    file = folder / WEIGHTS
    if not file.is_file():
        raise InputError(f"{file}: no such file: {folder} is not whole")
    for name, entry in read_header(file)[0].items():
        if ".lora_A." in name and len(entry["shape"]) == 2 and entry["shape"][0] != rank:
            raise InputError(f"{file}: r is {entry['shape'][0]}, but config.json beside it says {rank}")


def _put(model: Any, tensors: dict[str, Tensor]) -> None:
    """Copy weights in; names have been checked."""
    with torch.no_grad():
        for name, own in weights(model).items():
            own.copy_(tensors[name])
