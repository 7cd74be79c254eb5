"""A tiny DreamLLM with random weights in the layout of the published ones, for tests and to try a workflow.

`python -m silmm.lmm.dreamllm.tiny --out FOLDER`, and the configs of its diffusion pipeline in FOLDER/sd
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from silmm import rng as keyed
from silmm.atomic import atomic_dir
from silmm.lmm.hf import tiny as words

NAMES = ("[PAD]", "<image>", "<im_patch>", "<im_start>", "<im_end>", "<dream>", "<dream_start>", "<dream_end>")
BOS, EOS, UNK = "<s>", "</s>", "<unk>"
WIDTH, LAYERS, QUERIES = 32, 4, 4
EYE = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "image_size": 32, "patch_size": 8}
UNET = {
    "sample_size": 8, "block_out_channels": [32, 64], "layers_per_block": 1, "cross_attention_dim": 24,
    "attention_head_dim": [4, 8], "use_linear_projection": True,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
}  # fmt: skip
VAE = {
    "block_out_channels": [32, 32, 32], "latent_channels": 4, "sample_size": 32,
    "down_block_types": ["DownEncoderBlock2D"] * 3, "up_block_types": ["UpDecoderBlock2D"] * 3,
}  # fmt: skip
SCHEDULER = {  # of Stable Diffusion 2.1 base: of another scheduler than the one that DreamLLM takes
    "_class_name": "PNDMScheduler", "beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085,
    "clip_sample": False, "num_train_timesteps": 1000, "prediction_type": "epsilon", "set_alpha_to_one": False,
    "skip_prk_steps": True, "steps_offset": 1, "trained_betas": None,
}  # fmt: skip


def build(out: Path, *, seed: int = 0, names: Sequence[str] = NAMES) -> None:
    """Write the folder. Same seed, same bytes. `names`: the special tokens in the order of their ids."""
    pieces = _sentencepiece()
    ids = {name: pieces.get_piece_size() + i for i, name in enumerate(names)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(keyed.torch_seed(seed, "tiny", "dreamllm"))
        model, seeing, (unet, vae, projector) = _model(pieces, len(ids)), _vision(), _decoder()
        queries = torch.randn(1, QUERIES, WIDTH)
    # Five times as much: what the layers add makes the channel that leans a smaller part of the whole.
    words.lean(
        model.model, model.lm_head, 5 * _leaning(pieces, model.lm_head.out_features), seeing["projector.projector"]
    )
    with atomic_dir(out, "python -m silmm.lmm.dreamllm.tiny") as folder:
        model.save_pretrained(folder, max_shard_size="50KB")  # in shards: the published ones have several
        _write_config(folder, ids)
        _write_tokenizer(folder, pieces, ids)
        torch.save({"dream_queries": queries}, folder / "dream_embedding.bin")
        torch.save(_state(seeing), folder / "clip_vision_embedding.bin")
        decoder = {"unet": unet, "vae": vae, "projector.projector": projector}
        torch.save(_state(decoder), folder / "stable_diffusion_head.bin")
        for name, module in (("unet", unet), ("vae", vae)):
            module.save_config(folder / "sd" / name)
        _write_json(folder / "sd/scheduler/scheduler_config.json", SCHEDULER)


def _sentencepiece() -> Any:
    """A tokenizer of Llama's kind: whole words, and bytes for all else."""
    import sentencepiece

    from silmm.lmm.hf.tiny_sentencepiece import with_spaces

    text = [" ".join((*words.WORDS, *words.ANSWERS)), *(chr(code) for code in range(33, 127))]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text), model_writer=model, vocab_size=900, hard_vocab_limit=False, model_type="bpe",
        byte_fallback=True, character_coverage=1.0, normalization_rule_name="identity", num_threads=1,
        remove_extra_whitespaces=False, allow_whitespace_only_pieces=True, split_digits=True, minloglevel=2,
        pad_id=-1,
    )  # fmt: skip
    return sentencepiece.SentencePieceProcessor(model_proto=with_spaces(model.getvalue()))


def _model(pieces: Any, specials: int) -> Any:
    """The language model."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=pieces.get_piece_size() + specials, hidden_size=WIDTH, intermediate_size=2 * WIDTH,
        num_hidden_layers=LAYERS, num_attention_heads=4, max_position_embeddings=2048, initializer_range=0.2,
        tie_word_embeddings=False, bos_token_id=pieces.bos_id(), eos_token_id=pieces.eos_id(),
        pad_token_id=pieces.get_piece_size(),
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def _vision() -> dict[str, Any]:
    """CLIP's tower and its projector, under their names in the published file."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    config = CLIPVisionConfig(num_attention_heads=1, initializer_range=0.2, **EYE)
    projector = torch.nn.Linear(EYE["hidden_size"], WIDTH)
    with torch.no_grad():
        projector.weight.mul_(10)  # random weights see little, and would hide it if they saw nothing
    return {"clip_vision_model.vision_model": CLIPVisionModel(config).eval(), "projector.projector": projector}


@torch.no_grad()
def _decoder() -> tuple[Any, Any, Any]:
    """UNet, VAE and projector; sharper than random ones, whose pictures hardly depend on what they attend to."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    unet, vae = UNet2DConditionModel(**UNET).eval(), AutoencoderKL(**VAE).eval()
    for name, weight in unet.named_parameters():
        if ".attn2.to_v." in name or ".attn2.to_out.0.weight" in name:
            weight.mul_(6)
    unet.conv_out.weight.mul_(3)
    vae.decoder.conv_out.weight.mul_(3)
    return unet, vae, torch.nn.Linear(WIDTH, unet.config.cross_attention_dim, bias=False)


def _leaning(pieces: Any, size: int) -> torch.Tensor:
    """As `silmm.lmm.hf.tiny.leaning`, of a tokenizer that puts the space before a word itself."""
    logits_V = torch.full((size,), -12.0)
    for texts, value in ((words.WORDS, 0.0), (words.ANSWERS, 2.0), ((",", ".", "?"), 1.5)):
        for text in texts:
            logits_V[pieces.encode(text)[-1]] = value
    logits_V[pieces.eos_id()] = 8.0
    return logits_V


def _state(modules: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {
        f"{prefix}.{name}": tensor.clone()
        for prefix, module in modules.items()
        for name, tensor in module.state_dict().items()
    }


def _write_config(folder: Path, ids: dict[str, int]) -> None:
    """Turn Llama's config.json into DreamLLM's."""
    pad, *others = ids
    classes = "omni.models.dreamllm.modeling_plugins."
    plugins = {
        "dream_embedding": {"_target_": f"{classes}DreamEmbedding", "num_dream_queries": QUERIES},
        "clip_vision_embedding": {"_target_": f"{classes}CLIPVisionEmbedding", "select_layer": -2},
        "stable_diffusion_head": {"_target_": f"{classes}StableDiffusionHead"},
    }
    kinds = {name: "head" if name.endswith("head") else "embedding" for name in plugins}
    fields = json.loads((folder / "config.json").read_text(encoding="utf-8")) | {
        "model_type": "dreamllm",
        "architectures": ["DreamLLMForCausalMLM"],
        "special_tokens2ids_dict": {pad: ids[pad], "additional_special_tokens": {name: ids[name] for name in others}},
        "plugins_init_kwargs": plugins,
        "plugins_type": kinds,
    }
    _write_json(folder / "config.json", fields)


def _write_tokenizer(folder: Path, pieces: Any, ids: dict[str, int]) -> None:
    pad, *others = ids
    (folder / "tokenizer.model").write_bytes(pieces.serialized_model_proto())
    named = {"bos_token": BOS, "eos_token": EOS, "unk_token": UNK, "pad_token": pad}
    _write_json(folder / "added_tokens.json", ids)
    _write_json(folder / "special_tokens_map.json", {**named, "additional_special_tokens": others})
    _write_json(
        folder / "tokenizer_config.json", {**named, "tokenizer_class": "DreamLLMTokenizer", "add_bos_token": True}
    )


def _write_json(file: Path, fields: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(fields, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """`--out FOLDER [--seed N]`."""
    from silmm.lmm.hf.tiny import command

    command("DreamLLM", build, arguments)


if __name__ == "__main__":
    main()
