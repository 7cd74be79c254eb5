"""Checkpoint folders of the continuous ShapeWorld LMM: the discrete one's files, and the queries and the decoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from silmm.errors import InputError
from silmm.lmm.shapeworld.checkpoint import check_shapes, fill, load_shared, save_shared, save_weights
from silmm.lmm.shapeworld.continuous import ContinuousLMM
from silmm.lmm.shapeworld.dream import DreamQueries
from silmm.lmm.shapeworld.flow import FlowDecoder
from silmm.typed_json import loads

FAMILY = "shapeworld_continuous"
_OTHER = "made by another version: re-run silmm pretrain"
_CARD = """# A continuous ShapeWorld LMM

Made by silmm: a tiny `LlamaForCausalLM` over words and visual tokens that looks, asks and writes in ShapeWorld, and
draws with dream queries, whose last hidden states a flow-matching decoder turns into a picture.

`model.safetensors` holds the transformer, `dream_queries.safetensors` the queries' input embeddings,
`flow_decoder.safetensors` the decoder, with the range of features that it was trained on (`range`),
`visual_tokenizer.safetensors` the VQ tokenizer, `tokenizer.json` the words.
"""


def save(lmm: ContinuousLMM, folder: Path) -> None:
    """Write the folder (it must exist, and be empty)."""
    extra = {"silmm_family": FAMILY, "dream_queries": len(lmm.queries), "flow_decoder": lmm.decoder.shape}
    save_shared(lmm, folder, extra, _CARD)
    save_weights(lmm.queries, folder / "dream_queries.safetensors")
    save_weights(lmm.decoder, folder / "flow_decoder.safetensors")


def load(folder: Path) -> ContinuousLMM:
    """Load the folder. Raises InputError naming a missing file or key, or every missing, unexpected or misshapen
    weight."""
    model, tokenizer, vocab = load_shared(folder, "dream_queries.safetensors", "flow_decoder.safetensors")
    config = loads((folder / "config.json").read_text(encoding="utf-8"))
    n_queries, shape = _number(folder, config, "dream_queries"), config.get("flow_decoder")
    if not isinstance(shape, dict):
        raise InputError(f"{folder / 'config.json'}: flow_decoder is missing")
    cells, width, blocks, heads = (_number(folder, shape, name) for name in ("cells", "width", "blocks", "heads"))
    if width % (2 * heads):
        raise InputError(f"{folder / 'config.json'}: flow_decoder's width is {width}: not a multiple of 2 x heads")
    file = folder / "config.json"

    def new_queries() -> DreamQueries:
        return DreamQueries(n_queries, model.config.hidden_size)

    def new_decoder() -> FlowDecoder:
        return FlowDecoder(
            cells, tokenizer.codebook.shape[1], features=model.config.hidden_size, queries=n_queries, width=width,
            blocks=blocks, heads=heads,
        )  # fmt: skip

    check_shapes(new_queries, file, folder / "dream_queries.safetensors")
    check_shapes(new_decoder, file, folder / "flow_decoder.safetensors", _OTHER)
    queries, decoder = new_queries(), new_decoder()
    fill(queries, folder / "dream_queries.safetensors")
    fill(decoder, folder / "flow_decoder.safetensors", _OTHER)
    return ContinuousLMM(model, queries.eval(), decoder.eval().requires_grad_(False), tokenizer, vocab)


def _number(folder: Path, config: dict[str, Any], name: str) -> int:
    value = config.get(name)
    if not isinstance(value, int) or value < 1:
        raise InputError(f"{folder / 'config.json'}: {name} is {value!r}: expected a whole number above 0")
    return value
