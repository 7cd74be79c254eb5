"""Emu3 as BAAI published it (model_type `Emu3`; github.com/baaivision/Emu3): Emu3-Gen, Emu3-Chat and Emu3-Stage1, with
the VQ tokenizer in a folder of its own. Config, processor and names of the weights as transformers has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from silmm.errors import InputError
from silmm.lmm.emu3.names import END_OF_LINE
from silmm.lmm.emu3.names import VISUAL as VISUAL_TOKEN
from silmm.lmm.hf import original, tiktoken_file
from silmm.lmm.hf.folder import read_config
from silmm.lmm.hf.original import Layout, Rule, Source
from silmm.typed_json import loads, short

VISION = "Emu3-VisionTokenizer"  # its folder, in the one of the weights or beside it
RANKS, SPECIAL = "emu3.tiktoken", "emu3_vision_tokens.txt"
VOCABULARY, CODES = 184_622, 32_768  # tokens, and visual ones of them, where a config.json does not say
PAD, BOS, EOS = "<|endoftext|>", "<|extra_203|>", "<|extra_204|>"
IMAGE = "<image>"  # stands for a picture in a template; converted tokenizers have it in the place of <|extra_0|>
NAMED = {  # as attributes of the tokenizer
    "image_token": IMAGE, "boi_token": "<|image start|>", "eoi_token": "<|image end|>",
    "image_wrapper_token": "<|image token|>", "eof_token": "<|extra_201|>",
}  # fmt: skip
_IDS = {  # fields of the original config.json, and the tokens that they are the ids of
    "pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS, "img_token_id": NAMED["image_wrapper_token"],
    "boi_token_id": NAMED["boi_token"], "eoi_token_id": NAMED["eoi_token"], "eol_token_id": END_OF_LINE,
    "eof_token_id": NAMED["eof_token"],
}  # fmt: skip
_TEXT = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "hidden_act", "max_position_embeddings", "rms_norm_eps", "pad_token_id", "bos_token_id",
    "eos_token_id", "tie_word_embeddings", "initializer_range", "attention_dropout",
)  # fmt: skip
_VISUAL = {  # of the VQ tokenizer's config.json: transformers' names
    "codebook_size": "codebook_size", "embed_dim": "embed_dim", "z_channels": "latent_channels",
    "double_z": "double_latent", "in_channels": "in_channels", "out_channels": "out_channels",
    "temporal_downsample_factor": "temporal_downsample_factor", "ch": "base_channels",
    "ch_mult": "channel_multiplier", "num_res_blocks": "num_res_blocks", "attn_resolutions": "attn_resolutions",
}  # fmt: skip
_IMAGES = (
    "do_resize", "resample", "do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std",
    "do_convert_rgb", "min_pixels", "max_pixels", "spatial_factor",
)  # fmt: skip
TEMPLATE = (  # "<system> USER: <image><text> ASSISTANT:", as Emu3 was trained
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': ' }}{% endif %}"
    "{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] + ' ' }}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)

LANGUAGE = Layout(
    "emu3", "Emu3", (Rule("model.", ("model.text_model.",)), Rule("lm_head.", ("lm_head.",)))
)  # fmt: skip
VISUAL = Layout(
    "emu3",
    "Emu3VisionVQ",
    (
        *(
            Rule(f"{coder}.{own}", (f"model.vqmodel.{coder}.{ours}",), squeeze)
            for coder, way in (("encoder", "down"), ("decoder", "up"))
            for where, norm, there in (
                (f"{way}.#.attn.#.", f"{way}_block.{way}.#.attn_norms.#.", f"{way}_block.{way}.#.attn.#."),
                ("mid.attn_1.", "middle_block.attn_norm.", "middle_block.attn_1."),
            )
            for own, ours, squeeze in (
                (f"{where}norm.", norm, False),
                *((f"{where}{name}.", f"{there}{name}_proj.", True) for name in "qkv"),
                (f"{where}proj_out.", f"{there}out_proj.", True),
            )
        ),
        *(
            Rule(f"{coder}.{own}", (f"model.vqmodel.{coder}.{ours}",))
            for coder, way in (("encoder", "down"), ("decoder", "up"))
            for own, ours in ((f"{way}.", f"{way}_block.{way}."), ("mid.", "middle_block."), ("", ""))
        ),
        *(
            Rule(f"{name}.", (f"model.vqmodel.{name}.",))
            for name in ("quantize.embedding", "quant_conv", "post_quant_conv")
        ),
    ),
)


def sources(folder: Path) -> list[Source] | None:
    """The folder of weights and that of the VQ tokenizer, or None where it is in transformers' layout."""
    return [Source(folder, LANGUAGE), Source(vision(folder), VISUAL)] if original.is_of(folder, LANGUAGE) else None


def vision(folder: Path) -> Path:
    """The VQ tokenizer's folder, which may not be there: in the folder of weights, beside it, or beside what that is a
    link to."""
    places = [folder / VISION, folder.parent / VISION, folder.resolve().parent / VISION]
    return next((place for place in places if place.is_dir()), places[1])


def check_vision(folder: Path) -> None:
    """Raise InputError where the VQ tokenizer is not there."""
    if not vision(folder).is_dir():
        raise InputError(
            f"{folder}: the original layout of Emu3, which has its VQ tokenizer apart, and there is no folder"
            f" {vision(folder)}: download BAAI/{VISION} to there, or link to it"
        )


def config(folder: Path) -> Any:
    """The `Emu3Config` of the original config.json and that of the VQ tokenizer; without the latter, with its published
    sizes, and without the tokenizer's files with an empty vocabulary_map.

    Raises InputError where a value is not allowed.
    """
    from transformers import Emu3Config
    from transformers.models.emu3.configuration_emu3 import Emu3TextConfig, Emu3VQVAEConfig

    fields, visual = read_config(folder, "emu3"), {}
    if vision(folder).is_dir():
        found = read_config(vision(folder), "emu3")
        visual = {ours: found[own] for own, ours in _VISUAL.items() if own in found}
    if fields.get("rope_scaling") is not None:
        raise InputError(f"{folder / 'config.json'}: rope_scaling is set: published weights have none: take those")
    there = all((folder / name).is_file() for name in (RANKS, SPECIAL))
    try:
        vq = Emu3VQVAEConfig(**visual)
        vq.hidden_size = vq.base_channels * vq.channel_multiplier[-1]  # of its attention
        rope = {"rope_type": "default", "rope_theta": fields.get("rope_theta", 1e6)}
        text = Emu3TextConfig(**{name: fields[name] for name in _TEXT if name in fields}, rope_parameters=rope)
        made = Emu3Config(
            text_config=text, vq_config=vq, vocabulary_map=_special(folder) if there else {},
            tie_word_embeddings=text.tie_word_embeddings,
        )  # fmt: skip
    except InputError:
        raise
    except Exception as error:  # of many kinds: huggingface_hub validates each field
        reason = " ".join(str(error).split())
        raise InputError(f"{folder / 'config.json'}: not a config of Emu3 ({reason}): download it again") from error
    if "image_area" in fields:
        made.image_area = fields["image_area"]
    return made


def processor(folder: Path) -> Any:
    """The `Emu3Processor` of the original files: emu3.tiktoken, emu3_vision_tokens.txt, and the VQ tokenizer's
    preprocessor_config.json. No code of the folders is run. Raises InputError where one is missing or wrong."""
    from transformers import Emu3Processor, PreTrainedTokenizerFast
    from transformers.models.emu3.image_processing_emu3 import Emu3ImageProcessor

    check_vision(folder)
    _check_ids(folder)
    pixels, kept = pixels_file(folder), {}
    try:
        fields = loads(pixels.read_text(encoding="utf-8"))
        kept = {name: fields[name] for name in _IMAGES if name in fields}
        images = Emu3ImageProcessor(**kept)
    except FileNotFoundError:
        raise InputError(f"{pixels}: no such file: download it") from None
    except Exception as error:  # of many kinds: huggingface_hub validates each field
        reason = " ".join(str(error).split())
        raise InputError(f"{pixels}: not a picture processor of Emu3 ({reason}): download it again") from error
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_tokenizer(folder), bos_token=BOS, eos_token=EOS, pad_token=PAD, padding_side="left",
        extra_special_tokens=NAMED,
    )  # fmt: skip
    tokenizer.name_or_path = str(folder)
    return Emu3Processor(images, tokenizer, chat_template=TEMPLATE)


def pixels_file(folder: Path) -> Path:
    """Where the least and the most pixels of a picture stand that is looked at."""
    return vision(folder) / "preprocessor_config.json"


def _special(folder: Path) -> dict[str, int]:
    """Ids of the special tokens, which follow those of the text; `<image>` has that of <|extra_0|>."""
    file = folder / SPECIAL
    try:
        more = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        first = tiktoken_file.count(folder / RANKS)
    except FileNotFoundError as error:
        raise InputError(f"{error.filename}: no such file: download it") from None
    except ValueError as error:
        raise InputError(f"{file}: not a text ({error}): download it again") from None
    names = [PAD, "<|im_start|>", "<|im_end|>", IMAGE, *(f"<|extra_{i}|>" for i in range(1, 205)), *more]
    if len(set(names)) < len(names):
        raise InputError(f"{file}: a token is there twice, or another's name: download it again")
    return {name: first + i for i, name in enumerate(names)}


def _check_ids(folder: Path) -> None:
    """Raise InputError where an id in config.json is not that of its token, or a token has no weights."""
    fields, names = read_config(folder, "emu3"), _special(folder)
    of_others = "they are of different checkpoints; download the folder again"
    for field, name in _IDS.items():
        if field in fields and fields[field] != names.get(name):
            raise InputError(
                f"{folder / 'config.json'}: {field} is {short(fields[field])}, but {RANKS} and {SPECIAL} give {name}"
                f" the id {names.get(name)}: {of_others}"
            )
    codes = read_config(vision(folder), "emu3").get("codebook_size", CODES)
    if lost := [code for code in range(codes) if VISUAL_TOKEN.format(code) not in names]:
        raise InputError(
            f"{folder / SPECIAL}: lacks {len(lost)} of the {codes} visual tokens of {vision(folder)}, as"
            f" {VISUAL_TOKEN.format(lost[0])}: {of_others}"
        )
    size, tokens = fields.get("vocab_size", VOCABULARY), max(names.values()) + 1
    if tokens > size:
        raise InputError(
            f"{folder / 'config.json'}: vocab_size is {size}, but {RANKS} and {SPECIAL} have {tokens} tokens:"
            f" {of_others}"
        )


def _tokenizer(folder: Path) -> Any:
    """tokenizers' own `Tokenizer`."""
    from tokenizers import Tokenizer, decoders, models

    from silmm.lmm.emu3.tokenizer import cut_as_published

    special = _special(folder)
    vocab, merges = tiktoken_file.read(folder / RANKS)
    tokenizer = Tokenizer(models.BPE(vocab | special, merges))
    cut_as_published(tokenizer)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(special))
    return tokenizer
