"""Tiny judges with random weights, in the layout of the published ones: for tests and for trying a workflow. What they
answer means nothing.

    python -m silmm.benchmarks.judges.tiny --kind blip --out FOLDER
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from silmm.atomic import atomic_dir
from silmm.benchmarks.judges.tiny_vision import dpt, mask2former, owlv2, save
from silmm.errors import InputError

_TEXT = """
a an the is are there in on of and with to its it one two three four five six seven eight nine ten this that picture
image photo how many what color colour does show which red blue green yellow black white brown orange pink purple gray
round square big small wooden metal glass plastic apple banana bench bird book bowl bus cat chair clock cow cup dog
horse man table tree vase woman person left right top bottom above below behind front near next side under
"""
COMMAND = "python -m silmm.benchmarks.judges.tiny"
WORDS = sorted({*_TEXT.split(), "yes", "no"})
_LETTERS = [chr(code) for code in range(33, 127) if not chr(code).isupper()]


def wordpiece(specials: Sequence[str]) -> dict[str, int]:
    """A vocabulary of the kind that BERT has: special tokens, letters, whole words."""
    tokens = dict.fromkeys([*specials, *_LETTERS, *(f"##{letter}" for letter in _LETTERS), *WORDS])
    return {token: number for number, token in enumerate(tokens)}


def byte_pairs(end: str, *, spaces: bool) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges, trained until every word is one token: CLIP's kind, whose words end in `</w>`, or GPT's,
    whose words may start with a space."""
    import json

    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(end_of_word_suffix=end) if end else models.BPE())
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if spaces:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        words = [form for word in WORDS for form in (word, word.capitalize(), f" {word}", f" {word.capitalize()}")]
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        words = WORDS
        alphabet = [*alphabet, *(letter + end for letter in alphabet)]
    trainer = trainers.BpeTrainer(
        vocab_size=8192, min_frequency=1, show_progress=False, end_of_word_suffix=end,
        initial_alphabet=alphabet if spaces else [],
    )  # fmt: skip
    tokenizer.train_from_iterator(words, trainer)
    made = json.loads(tokenizer.to_str())["model"]
    vocab = dict(made["vocab"])
    for token in alphabet:
        vocab.setdefault(token, len(vocab))
    return vocab, [tuple(pair) for pair in made["merges"]]


def blip(folder: Path, **sizes: int) -> None:
    """BLIP for visual questions: with positions for 384 pixels, as on the hub, and patches of 96. `sizes`: others, of
    both of its towers."""
    from transformers import BertTokenizer, BlipConfig, BlipForQuestionAnswering, BlipImageProcessorPil

    tokenizer = BertTokenizer(vocab=wordpiece(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    text = {
        "vocab_size": len(tokenizer) + 2, "bos_token_id": len(tokenizer), "pad_token_id": tokenizer.pad_token_id,
        "sep_token_id": tokenizer.sep_token_id, "eos_token_id": tokenizer.sep_token_id, "hidden_size": 32,
        "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "initializer_range": 0.2,
    }  # fmt: skip
    vision = {
        "image_size": 384, "patch_size": 96, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "initializer_range": 0.1,
    }  # fmt: skip
    model = BlipForQuestionAnswering(BlipConfig(text_config=text | sizes, vision_config=vision | sizes))
    save(folder, model, tokenizer, BlipImageProcessorPil())


def clip(folder: Path) -> None:
    """CLIP, looking at 32 pixels."""
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    tokenizer = clip_tokenizer()
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text = sizes | ends | {"vocab_size": len(tokenizer)}
    vision = sizes | {"image_size": 32, "patch_size": 8}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24))
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    save(folder, model, tokenizer, CLIPImageProcessorPil(**size))


def clip_tokenizer(**special: str) -> Any:
    """CLIP's kind of tokenizer, whose end of text has the largest id."""
    from transformers import CLIPTokenizer

    vocab, merges = byte_pairs("</w>", spaces=False)
    for token in ("<|startoftext|>", "<|endoftext|>"):
        vocab[token] = len(vocab)
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=77, **special)


def mpnet(folder: Path) -> None:
    """MPNet."""
    from transformers import MPNetConfig, MPNetModel, MPNetTokenizer

    tokenizer = MPNetTokenizer(vocab=wordpiece(["<s>", "<pad>", "</s>", "[UNK]", "<mask>"]))
    config = MPNetConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=66, initializer_range=0.2,
    )  # fmt: skip
    save(folder, MPNetModel(config), tokenizer)


TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CHAT = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
CHAT_AND_VIDEO = (*CHAT, "<|video_pad|>")


def qwen(
    folder: Path, *, third: bool, most: int = 64, vision: Mapping[str, Any] = MappingProxyType({}), **text: Any
) -> None:
    """Qwen2.5-VL or, if `third`, Qwen3-VL, looking at `most` x `most` pixels at most. `vision`, `text`: sizes other
    than the tiny ones."""
    import transformers
    from transformers import Qwen2Tokenizer, Qwen2VLImageProcessorPil

    vocab, merges = byte_pairs("", spaces=True)
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=merges, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.add_special_tokens({"additional_special_tokens": list(CHAT_AND_VIDEO)})
    tokenizer.chat_template = TEMPLATE
    ids = tokenizer.convert_tokens_to_ids
    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "depth": 2, "num_heads": 2}
    sizes |= {"patch_size": 8, "num_position_embeddings": 64, "deepstack_visual_indexes": [0]} if third else {
        "patch_size": 8, "window_size": 32, "fullatt_block_indexes": [1]
    }  # fmt: skip
    words = {
        "vocab_size": len(tokenizer), "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.2, "eos_token_id": ids("<|im_end|>"),
        "bos_token_id": None,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 2, 2]},
    } | ({"head_dim": 12} if third else {}) | text  # fmt: skip
    tokens = {
        "image_token_id": ids("<|image_pad|>"), "video_token_id": ids("<|video_pad|>"),
        "vision_start_token_id": ids("<|vision_start|>"), "vision_end_token_id": ids("<|vision_end|>"),
    }  # fmt: skip
    name = "Qwen3VL" if third else "Qwen2_5_VL"
    config = getattr(transformers, f"{name}Config")(
        vision_config=sizes | {"out_hidden_size": words["hidden_size"]} | dict(vision), text_config=words, **tokens
    )
    model = getattr(transformers, f"{name}ForConditionalGeneration")(config)
    size = {"shortest_edge": 32 * 32, "longest_edge": most * most}
    processor = Qwen2VLImageProcessorPil(size=size, patch_size=config.vision_config.patch_size)
    save(folder, model, tokenizer, processor)


BUILDERS: dict[str, Callable[[Path], None]] = {  # by model_type
    "blip": blip,
    "qwen2_5_vl": partial(qwen, third=False),
    "qwen3_vl": partial(qwen, third=True),
    "clip": clip,
    "mask2former": mask2former,
    "owlv2": lambda folder: owlv2(folder, clip_tokenizer(pad_token="!")),
    "dpt": dpt,
    "mpnet": mpnet,
}


def build(kind: str, folder: Path, *, seed: int = 0) -> Path:
    """Write a tiny judge of this kind. Returns the folder. Raises InputError where something else is there."""
    with torch.random.fork_rng(devices=[]), atomic_dir(folder, COMMAND) as temporary:
        torch.manual_seed(seed)
        BUILDERS[kind](temporary)
    return folder


def main() -> None:
    """Write one."""
    parser = argparse.ArgumentParser(description="Write a tiny judge with random weights.")
    parser.add_argument("--kind", choices=[*BUILDERS], required=True)
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        build(options.kind, options.out, seed=options.seed)
    except InputError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
