"""Checkpoints of SEED-LLaMA: which weights it needs, what is refused, and how a checkpoint becomes an `LMM`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from silmm.errors import InputError
from silmm.lmm.hf import checkpoint, folder, lora
from silmm.lmm.hf.checkpoint import Family, Option
from silmm.lmm.seed_llama.layout import TEMPLATES

if TYPE_CHECKING:
    from silmm.lmm.seed_llama.lmm import SeedLMM
    from silmm.lmm.seed_llama.quantizer_file import Sizes

# Attention and MLP of the language model, which is all that peft sees.
REGEX = r"model\.layers\.\d+\.(self_attn\.(q|k|v|o)_proj|mlp\.(gate|up|down)_proj)"
EMBEDDINGS = "model.embed_tokens.weight"


def check(weights: Mapping[str, Path]) -> Sizes:
    """Sizes of the picture tokenizer. Reads names and shapes alone.

    Raises InputError where the language model, the picture tokenizer or the diffusion decoder will not do, or one does
    not fit another.
    """
    from silmm.lmm.seed_llama import names, quantizer_file, unclip
    from silmm.lmm.seed_llama.weights import read_config

    llm, visual = weights["llm"], weights["visual"]
    found = folder.check(llm, family="seed_llama", model_type="llama", pickled=True)
    read_config(llm)
    if EMBEDDINGS not in found.tensors:
        raise InputError(f"{llm}: {EMBEDDINGS} is missing: expected the weights of LlamaForCausalLM, all of them")
    if not visual.is_dir():
        raise InputError(f"{visual}: no such folder: expected the downloaded picture tokenizer of seed_llama")
    sizes, _ = quantizer_file.read(visual)
    rows = found.tensors[EMBEDDINGS][1][0]
    names.read(visual, names.load_tokenizer(visual), codes=sizes.codes, rows=rows)
    unclip.check(weights["diffusion"], embedding=sizes.embedding)
    return sizes


def check_options(_: Mapping[str, Path], options: Mapping[str, Option]) -> None:
    """Raise InputError where nobody said which words a conversation is put in: no file of the weights does."""
    if options["template"] not in TEMPLATES:
        raise InputError(
            f"template is {options['template']!r}: must be vicuna (SEED-LLaMA 8B) or llama2 (14B): the words that a"
            " conversation is put in, which the weights do not say"
        )


def fingerprint(role: str, path: Path) -> str:
    """Of a role's folder: the language model may be in torch's own files, the diffusion decoder has a folder a part."""
    from silmm.lmm.hf import pipeline
    from silmm.lmm.seed_llama import quantizer_file

    if role == "diffusion":
        return pipeline.fingerprint(path)
    if role == "visual":
        files = [path / name for name in (quantizer_file.FILE, quantizer_file.EVA_FILE)]
        return folder.fingerprint_of(path, folder.TEXTS, [file for file in files if file.is_file()])
    return folder.fingerprint_of(path, folder.TEXTS, folder.weight_files(path, pickled=True))


def skeleton(weights: Mapping[str, Path]) -> Any:
    """The model that learns, on torch's meta device."""
    from silmm.lmm.seed_llama import weights as loader

    return loader.skeleton(weights["llm"])


FAMILY = Family(
    name="seed_llama",
    title="SEED-LLaMA",
    roles=("llm", "visual", "diffusion"),
    adapted="llm",
    model_class="LlamaForCausalLM",
    licence="SEED-LLaMA's weights are published under the LLaMA-2 community licence; the 8B one descends from LLaMA-1"
    " by way of Vicuna v1.1, which is for research alone.",
    # Of AILab-CVC/SEED, scripts/seed_llama_inference_8B.py: temperature 1, top_p 0.5, one beam, no guidance.
    sampling=MappingProxyType({"temperature": 1.0, "top_p": 0.5, "top_k": 0, "guidance": 1.0}),
    regex=REGEX,
    check=check,
    skeleton=skeleton,
    options=MappingProxyType({"steps": 20, "guidance": 10.0, "template": ""}),
    check_options=check_options,
    fingerprint=fingerprint,
)


def load(path: Path) -> SeedLMM:
    """The LMM of a checkpoint folder.

    Raises InputError where it is not whole, or its weights are others than it was made with, or will not do.
    """
    from silmm.device import own_device
    from silmm.lmm.seed_llama import weights as loader
    from silmm.lmm.seed_llama.lmm import SeedLMM

    settings = checkpoint.read(path)
    sizes = check(settings.weights)
    check_options(settings.weights, settings.options)
    device = own_device()
    weights = loader.load(
        settings.weights["llm"], settings.weights["visual"], sizes, template=str(settings.options["template"]),
        dtype=settings.dtype, rows=settings.rows, device=device,
    )  # fmt: skip
    adapted = lora.attach(weights.model, regex=REGEX, rank=settings.rank, alpha=settings.alpha, seed=None)
    lora.restore(adapted, path)
    return SeedLMM(weights, adapted, settings)
