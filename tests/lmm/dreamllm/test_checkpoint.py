"""Checkpoints of DreamLLM: small, the same bytes for the same seed, whole or refused in one line."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from silmm import lmm as models
from silmm.errors import InputError
from silmm.lmm.dreamllm import checkpoint, layout, tiny
from silmm.lmm.dreamllm.lmm import DreamLMM
from silmm.lmm.hf.checkpoint import adopt
from silmm.lmm.interface import ContinuousImages, Sampling, VisualTokens

from .conftest import PROMPTS, adopted, keys, load, stir

ROOT = Path(__file__).parents[3]
PLUGINS = {  # file: a weight of it
    "dream_embedding.bin": "dream_queries",
    "clip_vision_embedding.bin": "clip_vision_model.vision_model.encoder.layers.1.mlp.fc2.weight",
    "stable_diffusion_head.bin": "unet.mid_block.attentions.0.proj_in.weight",
}


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def copy(weights: Path, tmp_path: Path) -> Path:
    """The weights, to spoil."""
    return Path(shutil.copytree(weights, tmp_path / "weights"))


def test_a_checkpoint_is_small_and_complete(lmm: DreamLMM, ckpt: Path, weights: Path) -> None:
    assert isinstance(lmm, ContinuousImages) and not isinstance(lmm, VisualTokens)
    assert (lmm.world, lmm.images, lmm.layers) == ("open", "continuous", tiny.LAYERS)
    names = {path.name for path in ckpt.iterdir()}
    assert names == {"config.json", "adapter_config.json", "adapter_model.safetensors", "README.md", ".silmm"}
    config = json.loads((ckpt / "config.json").read_text())
    assert config["silmm_family"] == "dreamllm"
    assert config["weights"] == {"model": str(weights), "diffusion": str(weights / "sd")}
    assert config["options"] == {"steps": 3, "guidance": 2.0, "features": "hidden", "painting": ""}
    adapter = load_file(ckpt / "adapter_model.safetensors")
    assert len(adapter) == 2 * 7 * tiny.LAYERS and all(".model.layers." in name for name in adapter)


def test_same_seed_same_bytes(ckpt: Path, weights: Path, tmp_path: Path) -> None:
    again, other = adopted(weights, tmp_path / "a"), adopted(weights, tmp_path / "b", seed=1)
    assert files_of(again) == files_of(ckpt)
    assert files_of(other) != files_of(ckpt)
    tiny.build(tmp_path / "again")
    assert files_of(tmp_path / "again") == files_of(weights)


def test_saving_what_was_loaded_changes_nothing(lmm: DreamLMM, ckpt: Path, tmp_path: Path) -> None:
    lmm.save(tmp_path)
    made = files_of(ckpt)
    assert made.pop(".silmm") and files_of(tmp_path) == made


def test_peft_opens_what_was_learned(policy: DreamLMM, weights: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import LlamaForCausalLM

    policy.save(tmp_path)
    plain = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(weights), tmp_path).eval()
    ids = torch.tensor([layout.text_ids(policy.tokenizer, PROMPTS[0])])
    with torch.no_grad():
        found, wanted = (model(input_ids=ids).logits for model in (plain, policy.weights.model))
        assert torch.equal(found, wanted)
        with policy.without_adapter():
            assert not torch.allclose(policy.weights.model(input_ids=ids).logits, wanted, atol=1e-2)


def test_no_id_is_written_down(lmm: DreamLMM, tmp_path: Path) -> None:
    tiny.build(tmp_path / "weights", names=("[MORE]", *reversed(tiny.NAMES)))
    edit(tmp_path / "weights/config.json", pad_token_id=None)
    other = load(adopted(tmp_path / "weights", tmp_path / "ckpt"))
    named = layout.look_ids(other.tokenizer, "red?", 3)[0][-5:], layout.look_ids(lmm.tokenizer, "red?", 3)[0][-5:]
    assert named[0] != named[1]
    assert other.tokenizer.convert_ids_to_tokens(named[0]) == lmm.tokenizer.convert_ids_to_tokens(named[1])
    assert other.look([np.zeros((32, 32, 3), np.uint8)], [["Is it red?"]])[0].shape == (1, 2)


def test_bf16_works(weights: Path, lmm: DreamLMM, tmp_path: Path) -> None:
    half = load(adopted(weights, tmp_path / "ckpt", dtype="bfloat16"))
    assert half.weights.text.head.weight.dtype == half.painter.dtype == torch.bfloat16
    head = torch.load(weights / "stable_diffusion_head.bin", weights_only=True)
    for name, tensor in half.painter.vae.state_dict().items():  # never rounded
        assert torch.equal(tensor, head[f"vae.{name}"])
    drawn = half.draw(PROMPTS, keys(), Sampling(rate=0.4, layers=2))
    assert drawn.pictures_PNHWC is not None and drawn.pictures_PNHWC.std() > 1
    feats = half.features(PROMPTS)
    assert feats.dtype == torch.float32
    with torch.no_grad():
        assert (feats - lmm.features(PROMPTS)).abs().mean() < 0.1
    (feats.mean() + half.text_nll([("write", "color", "a red apple")])).backward()
    assert all(p.dtype == torch.float32 and p.grad.isfinite().all() for p in half.parameters())
    stir(half)
    half.save(tmp_path)
    again = load(tmp_path)
    with torch.no_grad():
        assert torch.equal(again.features(PROMPTS), half.features(PROMPTS))


# ---- no plug-in at random numbers ----------------------------------------------------------------------------------


def test_every_weight_in_memory_is_the_file_s(lmm: DreamLMM, weights: Path) -> None:
    """The publishers' own loader leaves a plug-in at random numbers where its file is missing or named otherwise."""
    files = {name: torch.load(weights / name, weights_only=True) for name in PLUGINS}
    assert torch.equal(lmm.weights.queries_QD[None], files["dream_embedding.bin"]["dream_queries"])
    for module, name in ((lmm.weights.vision, "clip_vision_embedding.bin"), (lmm.painter, "stable_diffusion_head.bin")):
        stored = {key.replace(".vision_model.", "."): tensor for key, tensor in files[name].items()}
        held = module.state_dict()
        assert held.keys() == stored.keys()
        assert all(torch.equal(held[key], stored[key]) for key in stored)
        assert {key for key, _ in module.named_parameters()} <= stored.keys()


@pytest.mark.parametrize("name", PLUGINS)
@pytest.mark.parametrize("how", ["no file", "missing", "unexpected", "misshapen", "cut off", "code", "list", "older"])
def test_a_plug_in_is_whole_or_refused(copy: Path, tmp_path: Path, name: str, how: str) -> None:
    file, key = copy / name, PLUGINS[name]
    state = torch.load(file, weights_only=True)
    if how == "no file":
        file.unlink()
        says = f"{name}: no such file: download it"
    elif how == "cut off":
        file.write_bytes(file.read_bytes()[:-100])
        says = f"{name}: not a whole file of weights"
    elif how == "code":
        file.write_bytes(pickle.dumps({key: print}, 2))
        says = f"{name}: not a file of tensors alone"
    elif how == "list":
        torch.save(list(state.values()), file)
        says = f"{name}: no tensors by name, but a list"
    elif how == "older":  # the reference takes these names, too; whoever has them has another version
        torch.save({f"old_{k}": v for k, v in state.items()}, file)
        says = "missing"
    else:
        changed = {"missing": {}, "unexpected": {"more": torch.zeros(2)}, "misshapen": {key: torch.zeros(3, 5)}}[how]
        if how == "missing":
            del state[key]
        torch.save(state | changed, file)
        says = {"unexpected": "more is unexpected", "misshapen": r"is \[3, 5\], not \["}.get(how, "is missing")
    with pytest.raises(InputError, match=says) as error:
        adopted(copy, tmp_path / "ckpt")
    assert "\n" not in str(error.value) and name in str(error.value)
    assert not (tmp_path / "ckpt").exists()


@pytest.mark.parametrize("name", PLUGINS)
def test_another_plug_in_than_at_adoption_is_refused(copy: Path, tmp_path: Path, name: str) -> None:
    ckpt = adopted(copy, tmp_path / "ckpt")
    state = torch.load(copy / name, weights_only=True)
    state[PLUGINS[name]] += 1e-3
    torch.save(state, copy / name)
    with pytest.raises(InputError, match="other weights than .* was made with"):
        models.load(ckpt)
    (copy / name).unlink()
    with pytest.raises(InputError, match="no such file"):
        models.load(ckpt)


def test_what_old_versions_of_transformers_kept_is_no_weight(copy: Path, lmm: DreamLMM, tmp_path: Path) -> None:
    file = copy / "clip_vision_embedding.bin"
    state = torch.load(file, weights_only=True)
    state["clip_vision_model.vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    torch.save(state, file)
    index = json.loads((copy / "model.safetensors.index.json").read_text())
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    shard = index["weight_map"]["model.norm.weight"]
    save_file(load_file(copy / shard) | {name: torch.zeros(4)}, copy / shard, {"format": "pt"})
    index["weight_map"][name] = shard
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    other = load(adopted(copy, tmp_path / "ckpt"))
    with torch.no_grad():
        assert torch.equal(other.features(PROMPTS), lmm.features(PROMPTS))


# ---- what is refused ---------------------------------------------------------------------------------------------


def other_model(folder: Path) -> None:
    edit(folder / "config.json", model_type="llama")


def no_specials(folder: Path) -> None:
    edit(folder / "config.json", special_tokens2ids_dict=None)


def one_special_less(folder: Path) -> None:
    given = json.loads((folder / "config.json").read_text())["special_tokens2ids_dict"]
    del given["additional_special_tokens"]["<dream_start>"]
    edit(folder / "config.json", special_tokens2ids_dict=given)


def special_without_weights(folder: Path) -> None:
    edit(folder / "config.json", vocab_size=900)


def other_ids(folder: Path) -> None:
    ids = json.loads((folder / "added_tokens.json").read_text())
    ids["<dream_start>"], ids["<dream_end>"] = ids["<dream_end>"], ids["<dream_start>"]
    (folder / "added_tokens.json").write_text(json.dumps(ids))


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.model").unlink()


def bad_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.model").write_bytes(b"no model")


def bad_config(folder: Path) -> None:
    edit(folder / "config.json", hidden_size="wide")


def other_mlp(folder: Path) -> None:
    edit(folder / "config.json", hidden_act="gelu")


def cut_off(folder: Path) -> None:
    file = folder / "model-00001-of-00006.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def no_shard(folder: Path) -> None:
    (folder / "model-00002-of-00006.safetensors").unlink()


def bent_weight(folder: Path) -> None:
    shard = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]["model.norm.weight"]
    save_file(load_file(folder / shard) | {"model.norm.weight": torch.zeros(3)}, folder / shard, {"format": "pt"})


def more_layers(folder: Path) -> None:
    edit(folder / "config.json", num_hidden_layers=5)


def no_unet(folder: Path) -> None:
    (folder / "sd/unet/config.json").unlink()


def bad_vae(folder: Path) -> None:
    (folder / "sd/vae/config.json").write_text("{")


def other_unet(folder: Path) -> None:
    edit(folder / "sd/unet/config.json", cross_attention_dim=40)


def unknown_block(folder: Path) -> None:
    edit(folder / "sd/unet/config.json", down_block_types=["Block", "DownBlock2D"])


def no_clip_sample(folder: Path) -> None:
    fields = json.loads((folder / "sd/scheduler/scheduler_config.json").read_text())
    del fields["clip_sample"]
    (folder / "sd/scheduler/scheduler_config.json").write_text(json.dumps(fields))


def far_layer(folder: Path) -> None:
    plugins = json.loads((folder / "config.json").read_text())["plugins_init_kwargs"]
    plugins["clip_vision_embedding"]["select_layer"] = -7
    edit(folder / "config.json", plugins_init_kwargs=plugins)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (other_model, "model_type is 'llama', but dreamllm needs 'dreamllm'"),
        (no_specials, "no special_tokens2ids_dict"),
        (one_special_less, "gives <dream_start> the id None"),
        (special_without_weights, "with vocab_size 900: expected one below that"),
        (other_ids, "the tokenizer's id of <dream_start>"),
        (no_tokenizer, "no tokenizer.model or tokenizer.json"),
        (bad_tokenizer, "no tokenizer of Llama's kind"),
        (bad_config, "not a config of DreamLLM"),
        (other_mlp, "hidden_act is 'gelu': expected 'silu'"),
        (cut_off, "a download was cut off"),
        (no_shard, "no such file which model.safetensors.index.json names"),
        (bent_weight, r"model.norm.weight is \[3\], not \[32\]"),
        (more_layers, "model.layers.4.*is missing"),
        (no_unet, "unet/config.json: no such file: take the folders unet, vae and scheduler of Stable Diffusion 2.1"),
        (bad_vae, "vae/config.json: not JSON"),
        (other_unet, "unet.*attn2.to_k.weight is .*, not"),
        (unknown_block, "a config that diffusers cannot use"),
        (no_clip_sample, "no clip_sample"),
        (far_layer, "select_layer is -7, but it has 3 layers"),
    ],
)
def test_folders_that_will_not_do(copy: Path, tmp_path: Path, spoil: Callable[[Path], None], says: str) -> None:
    spoil(copy)
    with pytest.raises(InputError, match=says) as error:
        adopted(copy, tmp_path / "ckpt")
    assert "\n" not in str(error.value) and str(copy) in str(error.value)
    assert not (tmp_path / "ckpt").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"features": "pooled"}, "features is 'pooled': expected hidden or projected"),
        ({"painting": "bfloat16"}, "painting is 'bfloat16': expected float32, or leave it out"),
        ({"steps": 1001}, "steps is 1001: expected 1 to 1000"),
        ({"steps": 0}, "steps is 0: expected 1"),
        ({"guidance": "much"}, "guidance is 'much': expected float"),
        ({"side": 64}, "side is 64: DreamLLM has no such choice"),
    ],
)
def test_options_that_will_not_do(weights: Path, tmp_path: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        adopted(weights, tmp_path / "ckpt", **options)


def test_the_authors_numbers_on_coco() -> None:
    """eval_coco_zero_shot_clip8_select.sh of RunpeiDong/DreamLLM, in the family, the paper's config and the docs."""
    own = checkpoint.FAMILY.options
    assert (own["steps"], own["guidance"]) == (150, 2.0)
    config = yaml.safe_load((ROOT / "config/paper/dreamllm.yaml").read_text(encoding="utf-8"))["dreamllm"]["adopt"]
    assert (config["steps"], config["guidance"]) == (150, 2.0)
    said = " ".join((ROOT / "docs/dreamllm.md").read_text(encoding="utf-8").split())
    assert "COCO draws with 150 steps and guidance 2.0, all in float32, eight pictures a caption" in said


def test_painting_in_float32_beside_a_language_model_in_16_bits(weights: Path, lmm: DreamLMM, tmp_path: Path) -> None:
    """As the decoder paints for a language model in float32, of the same features."""
    exact = load(adopted(weights, tmp_path / "exact", dtype="bfloat16", painting="float32"))
    coarse = load(adopted(weights, tmp_path / "coarse", dtype="bfloat16"))
    assert (exact.painter.dtype, coarse.painter.dtype) == (torch.float32, torch.bfloat16)
    assert exact.weights.model.lm_head.weight.dtype == torch.bfloat16
    with torch.no_grad():
        hidden = exact.features(PROMPTS[:1])
    pictures = []
    for one in (lmm, exact, coarse):
        context = one.painter.project(hidden)
        pictures.append(one.painter.paint(context, context[0], [(0,)], steps=3, guidance=2.0, rows=2).astype(int))
    assert (pictures[0] == pictures[1]).all() and (pictures[0] != pictures[2]).any()
    assert exact.draw(PROMPTS[:1], keys(1, 1), Sampling()).pictures_PNHWC is not None


def test_other_configs_of_the_decoder_than_at_adoption(copy: Path, tmp_path: Path) -> None:
    ckpt = adopted(copy, tmp_path / "ckpt")
    edit(copy / "sd/scheduler/scheduler_config.json", beta_end=0.02)
    with pytest.raises(InputError, match=r"sd: other weights than .* was made with"):
        models.load(ckpt)


def test_both_folders_are_needed(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="roles are model: expected diffusion, model"):
        adopt(
            "dreamllm", {"model": weights}, tmp_path / "ckpt", rank=2, alpha=4, dtype="float32", rows=4, seed=0
        )  # fmt: skip
