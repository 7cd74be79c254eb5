"""Checkpoints of Janus: small, the same bytes for the same seed, whole or refused in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from silmm import lmm as models
from silmm.errors import InputError
from silmm.lmm.hf.checkpoint import adopt
from silmm.lmm.interface import DiscreteImages, Sampling
from silmm.lmm.janus import layout, tiny
from silmm.lmm.janus.lmm import JanusLMM

from .conftest import PROMPTS, adopted, load, stir


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_checkpoint_is_small_and_complete(lmm: JanusLMM, ckpt: Path, weights: Path) -> None:
    assert isinstance(lmm, DiscreteImages) and lmm.world == "open" and lmm.images == "discrete" and lmm.length == 16
    names = {path.name for path in ckpt.iterdir()}
    assert names == {"config.json", "adapter_config.json", "adapter_model.safetensors", "README.md", ".silmm"}
    config = json.loads((ckpt / "config.json").read_text())
    assert config["silmm_family"] == "janus" and config["weights"] == {"model": str(weights)}
    assert config["lora"] == {"rank": 2, "alpha": 4} and config["rows"] == 4 and config["dtype"] == "float32"
    adapter = load_file(ckpt / "adapter_model.safetensors")
    assert len(adapter) == 2 * 7 * 2 and all(".language_model." in name for name in adapter)
    assert str(weights) in (ckpt / "README.md").read_text()


def test_same_seed_same_bytes(ckpt: Path, weights: Path, tmp_path: Path) -> None:
    again, other = adopted(weights, tmp_path / "a"), adopted(weights, tmp_path / "b", seed=1)
    for file in ckpt.iterdir():
        assert (again / file.name).read_bytes() == file.read_bytes()
        assert ((other / file.name).read_bytes() == file.read_bytes()) == (file.suffix != ".safetensors")


def test_the_tiny_weights_are_the_same_bytes(weights: Path, tmp_path: Path) -> None:
    tiny.build(tmp_path / "again")
    for file in weights.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes(), file.name


def test_saving_what_was_loaded_changes_nothing(lmm: JanusLMM, ckpt: Path, tmp_path: Path) -> None:
    lmm.save(tmp_path)
    for file in ckpt.glob("[!.]*"):
        assert (tmp_path / file.name).read_bytes() == file.read_bytes(), file.name


def test_peft_opens_what_was_learned(policy: JanusLMM, weights: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import JanusForConditionalGeneration

    policy.save(tmp_path)
    plain = PeftModel.from_pretrained(JanusForConditionalGeneration.from_pretrained(weights), tmp_path).eval()
    ids = torch.tensor([layout.text_ids(policy.weights.processor, PROMPTS[0])])
    with torch.no_grad():
        found, wanted = (model(input_ids=ids).logits for model in (plain, policy.weights.model))
        assert torch.equal(found, wanted)
        with policy.without_adapter():
            assert not torch.allclose(policy.weights.model(input_ids=ids).logits, wanted, atol=1e-2)


def test_no_id_is_written_down(weights: Path, tmp_path: Path) -> None:
    order = (*reversed(tiny.SPECIALS), "<unused>")
    tiny.build(tmp_path / "weights", specials=("<first>", *order))
    lmm = load(adopted(tmp_path / "weights", tmp_path / "ckpt"))
    ids = [json.loads((folder / "config.json").read_text())["image_token_id"] for folder in (weights, lmm_folder(lmm))]
    assert ids[0] != ids[1]
    processor = lmm.weights.processor
    texts = [layout.conversation(processor, prompt) for prompt in PROMPTS]
    inputs = processor(text=texts, generation_mode="image", padding=True, padding_side="left", return_tensors="pt")
    wanted = lmm.weights.model.generate(**inputs, generation_mode="image", do_sample=False, guidance_scale=5.0)
    found = lmm.draw(PROMPTS, [[(0,)]] * 3, Sampling(top_p=0.0, guidance=5.0)).tokens_PNL[:, 0]
    np.testing.assert_array_equal(found, wanted.numpy())
    answers = lmm.look([np.zeros((32, 32, 3), np.uint8)], [["Is it red?"]])[0]
    assert answers.shape == (1, 2) and (answers > 0.005).all()
    assert len(" ".join(lmm.write(["color"] * 4, [(0, i) for i in range(4)], temperature=1.0)).split()) > 4


def test_the_branch_without_a_prompt_is_filled_with_the_token_of_that_name(
    weights: Path, lmm: JanusLMM, tmp_path: Path
) -> None:
    """Whatever generation_config.json and the tokenizer pad with: the end of the text, in tunes."""
    folder = Path(shutil.copytree(weights, tmp_path / "weights"))
    edit(folder / "generation_config.json", pad_token_id=lmm.tokenizer.eos_token_id)
    edit(folder / "tokenizer_config.json", pad_token=tiny.EOS)
    padded = load(adopted(folder, tmp_path / "ckpt"))
    assert padded.tokenizer.pad_token == tiny.EOS
    assert padded.tokenizer.convert_ids_to_tokens(padded.weights.blank) == "<｜▁pad▁｜>"
    sampling, keys = Sampling(top_p=0.0, guidance=5.0), [[(0,)]] * 3
    wanted = lmm.draw(PROMPTS, keys, sampling).tokens_PNL
    np.testing.assert_array_equal(padded.draw(PROMPTS, keys, sampling).tokens_PNL, wanted)


def lmm_folder(lmm: JanusLMM) -> Path:
    return lmm.settings.weights["model"]


def test_bf16_works(weights: Path, lmm: JanusLMM, codes: np.ndarray, tmp_path: Path) -> None:
    half = load(adopted(weights, tmp_path / "ckpt", dtype="bfloat16"))
    assert half.weights.text.head.weight.dtype == torch.bfloat16
    drawn = half.draw(PROMPTS, [[(0, i)] for i in range(3)], Sampling(guidance=5.0)).tokens_PNL
    assert drawn.shape == (3, 1, 16) and half.render(drawn[:, 0]).std() > 1
    logps = half.token_logps(PROMPTS, codes)
    assert logps.dtype == torch.float32
    with torch.no_grad():
        close = lmm.token_logps(PROMPTS, codes)
    assert (logps.detach() - close).abs().mean() < 0.1 < close.std()
    asked = [["Is it red?"]] * 3
    np.testing.assert_allclose(np.stack(half.answer(codes, asked)), np.stack(lmm.answer(codes, asked)), rtol=0.3)
    (logps.mean() + half.text_nll([("write", "color", "a red apple")])).backward()
    assert all(p.dtype == torch.float32 and p.grad.isfinite().all() for p in half.parameters())
    stir(half)
    half.save(tmp_path)
    again = load(tmp_path)
    with torch.no_grad():
        assert torch.equal(again.token_logps(PROMPTS, codes), half.token_logps(PROMPTS, codes))


# ---- what is refused ---------------------------------------------------------------------------------------------


def drop_weight(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.generation_head.vision_head.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def add_weight(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"model.more.weight": torch.zeros(2)}, folder / "model.safetensors", {"format": "pt"})


def bend_weight(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = torch.zeros(3, 4)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (drop_weight, "model.generation_head.vision_head.weight is missing: expected the weights of Janus"),
        (add_weight, "model.more.weight is unexpected"),
        (bend_weight, "do not fit its config.json"),
    ],
)
def test_weights_that_do_not_fit(weights: Path, tmp_path: Path, spoil: Callable[[Path], None], says: str) -> None:
    folder = Path(shutil.copytree(weights, tmp_path / "weights"))
    spoil(folder)
    ckpt = adopted(folder, tmp_path / "ckpt")
    with pytest.raises(InputError, match=says) as error:
        models.load(ckpt)
    assert "\n" not in str(error.value)


def rename_token(folder: Path, name: str) -> None:
    """The tokenizer's own file does not hold it; tokenizer_config.json still names it."""
    file = folder / "tokenizer.json"
    file.write_text(file.read_text().replace(f'"{name}"', '"<another>"'))


def no_token(folder: Path) -> None:
    rename_token(folder, tiny.BEGIN)


def no_name(folder: Path) -> None:
    file = folder / "tokenizer_config.json"
    fields = json.loads(file.read_text())
    del fields["boi_token"]
    file.write_text(json.dumps(fields))


def no_blank(folder: Path) -> None:
    rename_token(folder, tiny.PAD)
    edit(folder / "tokenizer_config.json", pad_token=tiny.EOS)


def no_pad(folder: Path) -> None:
    edit(folder / "tokenizer_config.json", pad_token=None)


def other_image_id(folder: Path) -> None:
    edit(folder / "config.json", image_token_id=3)


def small_vocabulary(folder: Path) -> None:
    fields = json.loads((folder / "config.json").read_text())
    fields["text_config"]["vocab_size"] = 100
    edit(folder / "config.json", text_config=fields["text_config"])


def bad_template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ messages[0]['content'][-1]['text'] }} Assistant:")


def picture_last(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ messages[0]['content'][-1]['text'] }} <image_placeholder> A:")


def emu3(folder: Path) -> None:
    edit(folder / "config.json", model_type="emu3")


def original(folder: Path) -> None:
    edit(folder / "config.json", model_type="multi_modality")


def cut_off(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def bad_config(folder: Path) -> None:
    edit(folder / "config.json", vq_config={"num_embeddings": "many"})


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (emu3, "model_type is 'emu3', but janus needs 'janus'"),
        (original, "this is DeepSeek-VL or another model that looks and does not draw"),
        (cut_off, "a download was cut off"),
        (no_tokenizer, "deepseek-community/Janus-Pro"),
        (no_token, "its boi_token is '<begin_of_image>', which it does not hold"),
        (no_name, "boi_token"),
        (no_blank, "its blank is '<｜▁pad▁｜>', which it does not hold"),
        (no_pad, "its pad_token is None"),
        (other_image_id, "but config.json says image_token_id 3"),
        (small_vocabulary, "but config.json says vocab_size 100"),
        (bad_template, "chat template"),
        (picture_last, "does not put a picture before the question"),
        (bad_config, "not a config of Janus"),
    ],
)
def test_folders_that_will_not_do(weights: Path, tmp_path: Path, spoil: Callable[[Path], None], says: str) -> None:
    folder = Path(shutil.copytree(weights, tmp_path / "weights"))
    spoil(folder)
    with pytest.raises(InputError, match=says) as error:
        adopted(folder, tmp_path / "ckpt")
    assert "\n" not in str(error.value) and str(folder) in str(error.value)
    assert not (tmp_path / "ckpt").exists()


def test_other_weights_than_the_checkpoints(weights: Path, ckpt: Path, tmp_path: Path) -> None:
    shutil.copytree(weights, tmp_path / "weights")
    mine = Path(shutil.copytree(ckpt, tmp_path / "ckpt"))
    edit(mine / "config.json", weights={"model": str(tmp_path / "weights")})
    assert isinstance(models.load(mine), JanusLMM)  # a copy is the same
    tiny.build(tmp_path / "weights", seed=1)
    with pytest.raises(InputError, match="other weights than .* was made with"):
        models.load(mine)
    edit(mine / "config.json", weights={"model": str(tmp_path / "nowhere")})
    with pytest.raises(InputError, match="no such folder here"):
        models.load(mine)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rows": 0}, "rows is 0: expected a whole number"),
        ({"rows": True}, "rows is True: expected a whole number"),
        ({"dtype": "float64"}, "dtype is 'float64': expected float32 or bfloat16"),
        ({"lora": {"rank": 2}}, "not the config of an adopted LMM"),
        ({"lora": {"rank": 3, "alpha": 4}}, "r is 2, but config.json beside it says 3"),
        ({"weights": "here"}, "not the config of an adopted LMM"),
        ({"weights": {}}, "weights: roles are none: expected model"),
        ({"silmm_family": "janus2"}, "silmm_family is 'janus2'"),
    ],
)
def test_damaged_configs(ckpt: Path, tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    mine = Path(shutil.copytree(ckpt, tmp_path / "ckpt"))
    edit(mine / "config.json", **changes)
    with pytest.raises(InputError, match=says) as error:
        models.load(mine)
    assert "\n" not in str(error.value)


def test_what_adopting_refuses(weights: Path, tmp_path: Path) -> None:
    def take(family: str = "janus", role: str = "model", out: Path = tmp_path / "out", rank: int = 2) -> None:
        adopt(family, {role: weights}, out, rank=rank, alpha=4, dtype="float32", rows=4, seed=0)

    with pytest.raises(InputError, match="family is 'janus9'"):
        take(family="janus9")
    with pytest.raises(InputError, match="roles are gen: expected model"):
        take(role="gen")
    with pytest.raises(InputError, match="rank is 0"):
        take(rank=0)
    with pytest.raises(InputError, match="not empty: `python -m silmm.lmm.janus.tiny` wrote it, not `silmm adopt`"):
        take(out=weights)
    assert (weights / "model.safetensors").is_file()


def test_draw_and_ask_for_users(ckpt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from silmm.settings import Images
    from silmm.stages import inference

    inference.draw(
        ckpt=ckpt, prompt="A red apple.", n=2, best=False, out=tmp_path / "out", seed=0, settings=Images(guidance=5.0)
    )
    inference.ask(ckpt=ckpt, image=tmp_path / "out" / "sample_0.png", question="Is there an apple?")
    said = capsys.readouterr().out
    assert "wrote 2 pictures" in said and "p_yes=" in said
