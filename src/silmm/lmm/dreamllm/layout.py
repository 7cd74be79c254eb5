"""How DreamLLM lays out its sequences, and its tokenizer.

    draw  <s> PROMPT <dream_start> | q1 .. q64                          H = their last hidden states
    look  <s> SYSTEM USER: <im_start> picture <im_end> | QUESTION ASSISTANT:
    text  <s> SYSTEM USER: INSTRUCTION ASSISTANT: | ANSWER </s>

A prompt to draw stands alone, without the words of the chat. `<dream_end>` follows the queries, and so changes none.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from silmm.errors import InputError
from silmm.lmm.dreamllm import config as configs
from silmm.lmm.dreamllm.config import DREAM_START, IMAGE_END, IMAGE_START, PATCH
from silmm.lmm.hf.pieces import bpe
from silmm.lmm.hf.text import plain

SYSTEM = (  # Vicuna's; the reference has a space before it
    " A chat between a curious user and an artificial intelligence assistant."
    " The assistant gives helpful, detailed, and polite answers to the user's questions."
)
USER, ASSISTANT = " USER: ", " ASSISTANT:"
FILES = ("tokenizer.model", "tokenizer.json")


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer, as transformers' class for Llama reads it, with the spaces of the publishers' own.

    Theirs puts a space before every piece of text that special tokens leave, one that starts with a space included;
    transformers 5 does so at most where there is none, which gives other ids. Raises InputError where there is no
    tokenizer of Llama's kind, or its special tokens are not those of config.json.
    """
    from tokenizers import Tokenizer
    from transformers import LlamaTokenizer, PreTrainedTokenizerFast

    if not any((folder / name).is_file() for name in FILES):
        raise InputError(f"{folder}: no {' or '.join(FILES)}: download the tokenizer's files, too")
    try:
        read = LlamaTokenizer.from_pretrained(folder, legacy=True, local_files_only=True)
        if (folder / FILES[0]).is_file():
            read.backend_tokenizer.model = bpe(folder / FILES[0])
        state = json.loads(read.backend_tokenizer.to_str())
    except Exception as error:  # of many kinds: sentencepiece, protobuf, JSON
        reason = " ".join(str(error).split())
        raise InputError(f"{folder}: no tokenizer of Llama's kind ({reason}): download its files again") from error
    space = {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    state["normalizer"], state["pre_tokenizer"] = {"type": "Sequence", "normalizers": list(space)}, None
    ids = configs.special_ids(folder)
    for token in state["added_tokens"]:
        token |= {"normalized": False, "special": token["special"] or token["content"] in ids}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)), bos_token=read.bos_token, eos_token=read.eos_token,
        unk_token=read.unk_token, pad_token=configs.PAD, padding_side="left", clean_up_tokenization_spaces=False,
    )  # fmt: skip
    tokenizer.name_or_path = str(folder)
    known = {token["content"]: token["id"] for token in state["added_tokens"]}
    for name in configs.NEEDED:
        if known.get(name) != ids[name]:
            raise InputError(
                f"{folder}: the tokenizer's id of {name} is {known.get(name)}, config.json's {ids[name]}: they are of"
                " different models: download the folder again"
            )
    return tokenizer


def draw_ids(tokenizer: Any, prompt: str) -> list[int]:
    """What the dream queries stand behind; without a prompt, for guidance."""
    return [*_encode(tokenizer, plain(tokenizer, prompt)), tokenizer.convert_tokens_to_ids(DREAM_START)]


def text_ids(tokenizer: Any, instruction: str) -> list[int]:
    """An instruction, up to where the answer starts."""
    return _encode(tokenizer, SYSTEM + USER + plain(tokenizer, instruction) + ASSISTANT)


def look_ids(tokenizer: Any, question: str, patches: int) -> tuple[list[int], list[int]]:
    """A question about a picture: what stands before it, with a place for each of the picture's patches, and what
    follows the picture."""
    picture = IMAGE_START + PATCH * patches + IMAGE_END
    ids = _encode(tokenizer, SYSTEM + USER + picture + plain(tokenizer, question) + ASSISTANT)
    behind = ids.index(tokenizer.convert_tokens_to_ids(IMAGE_END)) + 1
    return ids[:behind], ids[behind:]


def _encode(tokenizer: Any, text: str) -> list[int]:
    return [tokenizer.bos_token_id, *tokenizer.encode(text, add_special_tokens=False)]
