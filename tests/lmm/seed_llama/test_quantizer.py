"""The picture tokenizer: as the published architecture computes it, and no weight of its file is lost or made up."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from silmm.errors import InputError
from silmm.lmm.seed_llama import quantizer, quantizer_file
from silmm.lmm.seed_llama.quantizer import Quantizer
from silmm.lmm.seed_llama.shape import PUBLISHED

from .golden import make


@pytest.fixture(scope="module")
def weights() -> make.Weights:
    return make.weights()


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(make.FILE)


@pytest.fixture(scope="module")
def own(weights: make.Weights, tmp_path_factory: pytest.TempPathFactory) -> Quantizer:
    return quantizer.load(written(weights, tmp_path_factory.mktemp("golden")))


def written(weights: make.Weights, folder: Path, name: str = quantizer_file.FILE) -> Path:
    torch.save(weights, folder / name)
    return folder


def test_codes_and_embeddings_are_the_golden_ones(own: Quantizer, golden: dict[str, Tensor]) -> None:
    assert torch.equal(own.encode(make.pixels()), golden["codes"])
    assert min(len(row.unique()) for row in golden["codes"]) > 8 and float(golden["margin"]) > 1e-2
    embeddings = own.embed(golden["codes"])
    torch.testing.assert_close(embeddings, golden["embeddings"], atol=1e-5, rtol=1e-5)
    assert float(golden["embeddings"].std()) > 0.5


def test_the_golden_file_is_what_its_script_makes(golden: dict[str, Tensor]) -> None:
    again = make.golden()
    assert again.keys() == golden.keys() and torch.equal(again["codes"], golden["codes"])
    for name in ("embeddings", "margin"):
        torch.testing.assert_close(again[name], golden[name], atol=1e-6, rtol=1e-6)


def test_sizes_are_read_from_the_shapes(own: Quantizer) -> None:
    assert own.sizes == quantizer_file.Sizes(
        patch=make.PATCH, places=5, vision_width=make.VIT, vision_hidden=make.VIT_HIDDEN, vision_layers=make.VIT_LAYERS,
        queries=make.QUERIES, width=make.WIDTH, hidden=make.HIDDEN, layers=make.LAYERS, every=2, codes=make.CODES,
        code_width=make.CODE, blocks=make.BLOCKS, block_hidden=make.BLOCK_HIDDEN, narrow=make.DOWN,
        embedding=make.EMBEDDING,
    )  # fmt: skip
    assert own.sizes.side == 28


def test_shapes_of_the_published_one() -> None:
    """As they are tabulated for AILab-CVC/seed-tokenizer-2."""
    shapes = quantizer_file.shapes(PUBLISHED)
    assert shapes["visual_encoder.blocks.38.attn.qkv.weight"] == (4224, 1408)
    assert shapes["Qformer.bert.encoder.layer.10.crossattention.self.key.weight"] == (768, 1408)
    assert "Qformer.bert.encoder.layer.11.crossattention.self.key.weight" not in shapes
    assert shapes["blocks_image.3.attn.qkv.weight"] == (2304, 768)
    assert shapes["image_down.4.weight"] == (32, 128) and shapes["distill_image_proj.weight"] == (1024, 1024)
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) == pytest.approx(1.1e9, rel=0.05)


def test_a_query_does_not_see_later_ones(own: Quantizer) -> None:
    before = own.encode(make.pixels())
    kept = own.query_tokens.clone()
    try:
        own.query_tokens[:, 20:] = kept[:, 20:].flip(1)
        after = own.encode(make.pixels())
    finally:
        own.query_tokens.copy_(kept)
    assert torch.equal(before[:, :20], after[:, :20]) and not torch.equal(before[:, 20:], after[:, 20:])


def test_one_picture_alone_has_the_same_codes(own: Quantizer, golden: dict[str, Tensor]) -> None:
    alone = torch.cat([own.encode(picture[None]) for picture in make.pixels()])
    assert torch.equal(alone, golden["codes"])
    for codes_L, wanted in zip(alone, golden["embeddings"], strict=True):
        torch.testing.assert_close(own.embed(codes_L[None])[0], wanted, atol=1e-5, rtol=1e-5)


def test_eval_mode_frozen_and_in_32_bits(weights: make.Weights, tmp_path: Path) -> None:
    """Also of a file in 16 bits: the Q-Former has dropout, and codes are nearest neighbours."""
    made = quantizer.load(written({name: t.half() for name, t in weights.items()}, tmp_path))
    assert {p.dtype for p in made.parameters()} == {torch.float32}
    assert not any(module.training for module in made.modules()) and not any(p.requires_grad for p in made.parameters())


# ---- as it is published: the vision encoder in a file of its own, and more in both than a picture needs -------------

MORE = {  # names in seed_quantizer.pt that nothing reads: branches for text, what training used, what nobody knows of
    "pos_embed": (1, 4, 8), "blocks.0.norm1.weight": (8,), "blocks.3.mlp.fc2.bias": (8,),
    "Qformer.bert.embeddings.position_ids": (1, 16), "Qformer.bert.embeddings.word_embeddings.weight": (30, 8),
    "Qformer.bert.encoder.layer.0.intermediate.dense.weight": (8, 8), "Qformer.cls.predictions.bias": (30,),
    "Qformer.bert.encoder.layer.0.output.LayerNorm.bias": (8,), "itm_head.weight": (2, 8), "temp": (),
    "decode_task_layer.4.weight": (1,),
}  # fmt: skip
LAST = ("norm.weight", "norm.bias", "head.weight", "head.bias")  # of EVA, behind its blocks


@pytest.fixture
def published(weights: make.Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as seed-tokenizer-2 with eva_vit_g.pth, whose last block the network has not, in 16 bits, beside it."""
    monkeypatch.setattr(quantizer_file, "EVA_BLOCKS", make.VIT_LAYERS)
    prefix = quantizer_file.VISION
    rest = {name: t for name, t in weights.items() if not name.startswith(prefix)}
    eva = {name.removeprefix(prefix): t for name, t in weights.items() if name.startswith(prefix)}
    last = {n.replace("blocks.1", f"blocks.{make.VIT_LAYERS}"): t for n, t in eva.items() if n.startswith("blocks.1.")}
    written(rest | {name: torch.zeros(shape) for name, shape in MORE.items()}, tmp_path)
    written(eva | last | {name: torch.zeros(3) for name in LAST}, tmp_path, quantizer_file.EVA_FILE)
    return tmp_path


def test_a_folder_as_it_is_published(published: Path, golden: dict[str, Tensor]) -> None:
    made = quantizer.load(published)
    assert torch.equal(made.encode(make.pixels()), golden["codes"])
    torch.testing.assert_close(made.embed(golden["codes"]), golden["embeddings"], atol=1e-5, rtol=1e-5)


def test_the_single_file_is_as_good(published: Path, own: Quantizer) -> None:
    """One that somebody put together, with the vision encoder in it."""
    assert all(torch.equal(t, quantizer.load(published).state_dict()[name]) for name, t in own.state_dict().items())


def test_what_nothing_reads_is_told_in_a_line_a_file(published: Path) -> None:
    found = quantizer_file.read(published)
    first, second = quantizer_file.told(found.unused)
    assert first.startswith(
        f"{published / 'seed_quantizer.pt'}: 11 weights that nothing reads, as pos_embed, blocks.0."
    )
    assert second == (
        f"{published / 'eva_vit_g.pth'}: 17 weights that nothing reads, as blocks.2.norm1.weight, norm.weight,"
        " head.weight: left alone"
    )
    assert found.files == [published / "seed_quantizer.pt", published / "eva_vit_g.pth"]


def test_without_eva_s_file_the_refusal_says_where_it_is(published: Path) -> None:
    (published / "eva_vit_g.pth").unlink()
    with pytest.raises(InputError) as raised:
        quantizer.load(published)
    assert str(raised.value) == (
        f"{published / 'eva_vit_g.pth'}: no such file, and seed_quantizer.pt has no vision encoder (the published one"
        " has none): download https://storage.googleapis.com/sfr-vision-language-research/LAVIS/models/BLIP2/eva_vit_g.pth"
        f" into {published}"
    )


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("cls_token", None, "eva_vit_g.pth: cls_token is missing"),
        ("blocks.1.attn.v_bias", None, "eva_vit_g.pth: blocks.1.attn.v_bias is missing"),
        ("pos_embed", torch.zeros(1, 9, make.VIT), "eva_vit_g.pth: pos_embed is of 9 places, not of a square"),
        ("blocks.0.mlp.fc2.bias", torch.zeros(3), r"eva_vit_g.pth: blocks.0.mlp.fc2.bias is \[3\], not \[176\]"),
        ("patch_embed.proj.weight", torch.zeros(3), r"eva_vit_g.pth: patch_embed.proj.weight is \[3\], not of 4 axes"),
    ],
)  # fmt: skip
def test_what_eva_s_file_lacks_is_named(published: Path, name: str, change: Tensor | None, says: str) -> None:
    file = published / "eva_vit_g.pth"
    tensors = torch.load(file, weights_only=True)
    torch.save({n: t for n, t in tensors.items() if n != name} | ({} if change is None else {name: change}), file)
    with pytest.raises(InputError, match=says):
        quantizer.load(published)


def test_a_smaller_eva_is_refused(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One block more is left out, one less is missing."""
    monkeypatch.setattr(quantizer_file, "EVA_BLOCKS", make.VIT_LAYERS + 2)
    with pytest.raises(InputError, match=r"eva_vit_g.pth: blocks.3.norm1.weight is missing; .* and 10 more"):
        quantizer.load(published)


def without(name: str) -> Callable[[make.Weights], object]:
    return lambda weights: weights.pop(name)


def with_(name: str, *shape: int) -> Callable[[make.Weights], object]:
    return lambda weights: weights.update({name: torch.zeros(shape)})


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (without("query_tokens"), "query_tokens is missing"),
        (without("image_down.2.weight"), "image_down.2.weight is missing"),
        (without("visual_encoder.blocks.1.attn.v_bias"), "visual_encoder.blocks.1.attn.v_bias is missing"),
        (without("Qformer.bert.encoder.layer.1.output_query.LayerNorm.bias"), "layer.1.output_query.* is missing"),
        (with_("Qformer.bert.encoder.layer.1.crossattention.self.query.bias", 128), "layer.1.cross.* is missing"),
        (with_("visual_encoder.pos_embed", 1, 4, 176), "pos_embed is of 4 places, not of a square of patches and one"),
        (with_("ln_vision.weight", 175), r"ln_vision.weight is \[175\], not \[176\]"),
        (with_("quantize.embedding.weight", 64), r"quantize.embedding.weight is \[64\], not of 2 axes"),
        (with_("visual_encoder.patch_embed.proj.weight", 100, 3, 14, 14), "vision encoder is 100 wide, not a multiple"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_named(
    weights: make.Weights, tmp_path: Path, spoil: Callable[[make.Weights], object], says: str
) -> None:
    spoilt = dict(weights)
    spoil(spoilt)
    with pytest.raises(InputError, match=says) as raised:
        quantizer.load(written(spoilt, tmp_path))
    assert str(tmp_path / quantizer_file.FILE) in str(raised.value) and "\n" not in str(raised.value)


class Evil:
    """What it is pickled as runs when it is read."""

    def __reduce__(self) -> tuple:
        return Path.touch, (Path("evil"),)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_nothing_in_the_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / quantizer_file.FILE
    if how == "torch":
        torch.save({"query_tokens": Evil()}, file)
    else:
        file.write_bytes(pickle.dumps({"query_tokens": Evil()}, protocol=2))
    with pytest.raises(InputError, match="not a file of tensors alone"):
        quantizer.load(tmp_path)
    assert not (tmp_path / "evil").exists()
