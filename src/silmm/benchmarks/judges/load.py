"""A judge for a role, from a folder or the hub; which kind it is, its config.json says."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from silmm.benchmarks.judges.interface import ROLES
from silmm.benchmarks.judges.sources import Source, find
from silmm.errors import InputError
from silmm.typed_json import one_of, short
from silmm.weight_files import read_config

if TYPE_CHECKING:
    import torch


class Kind(NamedTuple):
    """A kind of judge."""

    role: str
    example: str  # on the hub


KINDS = {  # by the model_type of config.json
    "blip": Kind("vqa", "Salesforce/blip-vqa-capfilt-large"),
    "qwen2_5_vl": Kind("vqa", "Qwen/Qwen2.5-VL-7B-Instruct"),
    "qwen3_vl": Kind("vqa", "Qwen/Qwen3-VL-8B-Instruct"),
    "clip": Kind("clip", "openai/clip-vit-large-patch14"),
    "mask2former": Kind("detector", "facebook/mask2former-swin-small-coco-instance"),
    "owlv2": Kind("detector", "google/owlv2-base-patch16-ensemble"),
    "dpt": Kind("depth", "Intel/dpt-hybrid-midas"),
    "mpnet": Kind("sentences", "sentence-transformers/all-mpnet-base-v2"),
}


def load(role: str, source: str, *, device: torch.device | None = None) -> Any:
    """A judge that fulfils the role's protocol (see `silmm.benchmarks.judges.interface`).

    Args:
        role: one of ROLES.
        source: a folder in transformers' layout, or `owner/name[@revision]` on the Hugging Face hub.
        device: where it computes; by default on a GPU of its own (see `silmm.gpus`), or the CPU where there is none.

    Raises InputError where there is no such judge, it is not whole, or it is of another role.
    """
    if role not in ROLES:
        raise InputError(f"judge {role}: {one_of(ROLES)}")
    files = find(source)
    model_type = read_config(files.folder, f"a judge ({role})").get("model_type")
    kind = KINDS.get(model_type) if isinstance(model_type, str) else None
    if kind is None or kind.role != role:
        fit = [f"{name} (as {kind.example})" for name, kind in KINDS.items() if kind.role == role]
        raise InputError(
            f"{source}: model_type is {short(model_type)}, no judge that {ROLES[role]} ({role}): {one_of(fit)}"
        )
    if device is None:
        from silmm.device import own_device

        device = own_device()
    return _loader(str(model_type))(files, device)


def _loader(model_type: str) -> Callable[[Source, torch.device], Any]:
    """What loads a kind. Import statements and not names of modules, because `silmm.sources` follows these."""
    from silmm.benchmarks.judges import blip_vqa, clip, dpt, mask2former, mpnet, owl, qwen_vl

    loaders: dict[str, Callable[[Source, torch.device], Any]] = {
        "blip": blip_vqa.load,
        "qwen2_5_vl": qwen_vl.load,
        "qwen3_vl": qwen_vl.load,
        "clip": clip.load,
        "mask2former": mask2former.load,
        "owlv2": owl.load,
        "dpt": dpt.load,
        "mpnet": mpnet.load,
    }
    return loaders[model_type]
