"""`silmm adopt` on folders as they are published: their names, their keys, and what silmm reads nothing of."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from silmm import cli
from silmm.lmm.interface import Sampling
from silmm.lmm.seed_llama import quantizer_file, tiny

from .conftest import PROMPTS, keys, load
from .test_quantizer import LAST, MORE

# As deep as the published ones, which have 40 blocks in EVA's own file, but narrow.
SIZES = tiny.SIZES._replace(vision_width=88, vision_hidden=16, vision_layers=quantizer_file.EVA_BLOCKS)
ROLES = {"weights": "seed-llama-8b-sft", "visual": "seed-tokenizer-2", "diffusion": "stable-diffusion-2-1-unclip"}


def adopt(folder: Path, out: Path) -> None:
    paths = [word for role, name in ROLES.items() for word in (f"--{role}", str(folder / name))]
    words = [*paths, "--template", "vicuna", "--steps", "2", "--rank", "2", "--alpha", "4", "--dtype", "float32"]
    assert cli.main(["adopt", "--family", "seed_llama", *words, "--rows", "4", "--seed", "0", "--out", str(out)]) == 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders with the published names, and the vision encoder in seed_quantizer.pt."""
    folder = tmp_path_factory.mktemp("seed") / "whole"
    tiny.build(folder, sizes=SIZES)
    for role, name in zip(("llm", "visual", "diffusion"), ROLES.values(), strict=True):
        (folder / role).rename(folder / name)
    return folder


@pytest.fixture(scope="module")
def published(whole: Path) -> Path:
    """The same weights in the files that the hub and LAVIS have."""
    folder = Path(shutil.copytree(whole, whole.with_name("published")))
    _publish_llm(folder / ROLES["weights"])
    _publish_tokenizer(folder / ROLES["visual"])
    unclip = folder / ROLES["diffusion"]
    for name in ("sd21-unclip-h.ckpt", "unet/diffusion_pytorch_model.bin", "vae/diffusion_pytorch_model.bin"):
        (unclip / name).write_bytes(b"not read")
    shutil.copy(
        unclip / "vae/diffusion_pytorch_model.safetensors", unclip / "vae/diffusion_pytorch_model.fp16.safetensors"
    )
    for name in ROLES.values():
        for more in (".gitattributes", "README.md"):
            (folder / name / more).write_text("of the hub\n")
    return folder


def _publish_llm(folder: Path) -> None:
    """torch's own files, with numbers that old versions of transformers saved."""
    index = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    tensors = {name: t for file in sorted(set(index.values())) for name, t in load_file(folder / file).items()}
    tensors |= {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": torch.ones(4) for i in range(2)}
    for file in folder.glob("model*.safetensors*"):
        file.unlink()
    files = [f"pytorch_model-0000{i}-of-00002.bin" for i in (1, 2)]
    names = sorted(tensors)
    for file, part in zip(files, (names[:8], names[8:]), strict=True):
        torch.save({name: tensors[name] for name in part}, folder / file)
    places = dict.fromkeys(names[:8], files[0]) | dict.fromkeys(names[8:], files[1])
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    torch.save({"lr": 1e-5}, folder / "training_args.bin")


def _publish_tokenizer(folder: Path) -> None:
    """seed_quantizer.pt without a vision encoder and with more keys, eva_vit_g.pth beside it, and transformers 4.30's
    tokenizer_config.json with the arguments of a class of its authors' own."""
    tensors, prefix = torch.load(folder / "seed_quantizer.pt", weights_only=True), quantizer_file.VISION
    eva = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    rest = {name: t for name, t in tensors.items() if not name.startswith(prefix)}
    last = {n.replace("blocks.38.", "blocks.39."): t for n, t in eva.items() if n.startswith("blocks.38.")}
    torch.save(rest | {name: torch.zeros(shape) for name, shape in MORE.items()}, folder / "seed_quantizer.pt")
    torch.save(eva | last | {name: torch.zeros(3) for name in LAST}, folder / "eva_vit_g.pth")
    token = {"__type": "AddedToken", "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    config = {"tokenizer_class": "SeedLlamaTokenizer", "add_bos_token": True, "add_eos_token": False, "pad_token": None}
    config |= {"clean_up_tokenization_spaces": False, "model_max_length": 2048, "padding_side": "left"}
    config |= {"sp_model_kwargs": {}, "device": "cpu", "fp16": False, "load_diffusion": False, "encoder_url": None}
    config |= {f"{name}_token": token | {"content": text} for name, text in (("bos", "<s>"), ("eos", "</s>"))}
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"unk_token": token | {"content": "<unk>"}}))


def test_published_folders_are_adopted(
    whole: Path, published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adopt(published, tmp_path / "ckpt")
    told = [line for line in capsys.readouterr().err.splitlines() if "nothing reads" in line]
    assert [line.partition(" weights")[0] for line in told] == [
        f"adopt: {published / 'seed-tokenizer-2/seed_quantizer.pt'}: 11",
        f"adopt: {published / 'seed-tokenizer-2/eva_vit_g.pth'}: 17",
    ]
    adopt(whole, tmp_path / "other")
    assert "nothing reads" not in capsys.readouterr().err
    found, wanted = load(tmp_path / "ckpt"), load(tmp_path / "other")
    assert "nothing reads" not in capsys.readouterr().err  # once is enough
    codes = found.draw(PROMPTS[:1], keys(1, 2), Sampling(top_p=0.9)).tokens_PNL[0]
    assert (codes == wanted.draw(PROMPTS[:1], keys(1, 2), Sampling(top_p=0.9)).tokens_PNL[0]).all()
    pictures = found.render(codes)
    assert (pictures == wanted.render(codes)).all()
    asked = [["Is it red?"]] * 2
    for one, other in zip(*(lmm.look(list(pictures), asked) for lmm in (found, wanted)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_other_weights_of_eva_than_at_adoption(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(published, tmp_path / "copy"))
    adopt(copy, tmp_path / "ckpt")
    file = copy / "seed-tokenizer-2/eva_vit_g.pth"
    tensors = torch.load(file, weights_only=True)
    torch.save(tensors | {"cls_token": tensors["cls_token"] + 1}, file)
    assert cli.main(["draw", "a dog", "--ckpt", str(tmp_path / "ckpt"), "--out", str(tmp_path / "out")]) == 2
    assert "seed-tokenizer-2: other weights than" in capsys.readouterr().err


def test_without_eva_s_file(published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = Path(shutil.copytree(published, tmp_path / "copy"))
    (copy / "seed-tokenizer-2/eva_vit_g.pth").unlink()
    paths = [word for role, name in ROLES.items() for word in (f"--{role}", str(copy / name))]
    words = ["adopt", "--family", "seed_llama", *paths, "--template", "vicuna", "--seed", "0"]
    assert cli.main([*words, "--out", str(tmp_path / "ckpt")]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and "eva_vit_g.pth: no such file" in said[0] and quantizer_file.EVA_URL in said[0]
