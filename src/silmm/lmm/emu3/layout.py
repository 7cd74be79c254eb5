"""How Emu3 lays out its sequences (transformers' `Emu3Processor`, the reference's `image_generation.py`).

    draw  <bos> CAPTION <boi> H*W <wrapper> | v v .. <eol> v v .. <eol> ..     H rows of W visual tokens v
    look  <bos> SYSTEM USER: <boi> H*W <wrapper> v v .. <eol> .. <eof> <eoi> | QUESTION. ASSISTANT:
    text  <bos> SYSTEM USER: INSTRUCTION. ASSISTANT: | ANSWER <eos>

The words around it are those of the checkpoint's chat template. What is drawn ends with its last visual token: the
markers behind it are given, not chosen, and nothing needs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from silmm.errors import InputError
from silmm.lmm.hf.text import plain

# From image_generation.py of the reference (github.com/baaivision/Emu3), which draws with both.
POSITIVE = " masterpiece, film grained, best quality."
NEGATIVE = (
    "lowres, bad anatomy, bad hands, text, error, missing fingers, extra digit, fewer digits, cropped, worst quality,"
    " low quality, normal quality, jpeg artifacts, signature, watermark, username, blurry."
)
SYSTEM = "You are a helpful assistant."  # of the reference's chat template


def caption(processor: Any, prompt: str) -> str:
    """What the picture is drawn from, and its log-probs are conditioned on: the prompt as it stands, without names of
    special tokens, and the words for quality."""
    return plain(processor.tokenizer, prompt).strip() + POSITIVE


def draw_prefixes(processor: Any, prompts: Sequence[str], side: int, *, negative: bool = False) -> list[list[int]]:
    """Ids of each prompt's caption and the header of a square picture of `side` pixels; `negative`: and, last, of the
    text of the unconditional branch.

    That one needs the header, too: without it the branch does not know that it draws.
    """
    texts = [*(caption(processor, prompt) for prompt in prompts), *[NEGATIVE] * negative]
    return processor(text=texts, return_for_image_generation=True, ratio="1:1", image_area=side * side).input_ids


def places(width: int) -> Tensor:
    """Where the visual tokens of a picture stand, int64 `[width * width]`, counted from the first."""
    number = torch.arange(width * width)
    return number + number // width


def picture_ids(ids_NL: Tensor, end_of_line: int, width: int) -> Tensor:
    """Ids of whole pictures `[n, width * (width + 1)]` of their visual tokens' ids `[n, width * width]`."""
    rows = ids_NL.reshape(-1, width, width)
    return torch.cat([rows, rows.new_full((*rows.shape[:2], 1), end_of_line)], 2).flatten(1)


def conversation(processor: Any, text: str, *, image: bool = False) -> str:
    """What the user says, in the checkpoint's chat template, up to where the answer starts. A "." ends it whatever it
    ends with ("Is there a cat?."): the reference puts one before ASSISTANT."""
    said = [{"type": "image"}] * image + [{"type": "text", "text": plain(processor.tokenizer, text) + "."}]
    messages = [{"role": "system", "content": [{"type": "text", "text": SYSTEM}]}, {"role": "user", "content": said}]
    return processor.apply_chat_template(messages, add_generation_prompt=True)


def text_prefixes(processor: Any, instructions: Sequence[str]) -> list[list[int]]:
    """Ids of instructions, each up to where the answer starts."""
    return processor(text=[conversation(processor, text) for text in instructions]).input_ids


def split_at_image(processor: Any, question: str) -> tuple[str, str]:
    """The conversation about a picture before the question and after the picture, without the picture."""
    before, after = conversation(processor, question, image=True).split(processor.image_token)
    return before, after


def check_template(folder: Path, processor: Any) -> None:
    """Raise InputError where the chat template does not put a picture before all that differs between questions."""
    try:
        (first, one), (second, other) = (split_at_image(processor, word) for word in ("ONE", "OTHER"))
        fits = first == second and "ONE" in one and one.replace("ONE", "OTHER") == other and not one.endswith("ONE")
    except Exception as error:  # jinja's errors, and those of the unpacking above, are of many kinds
        raise InputError(f"{folder}: its chat template fails ({error}): take the one of BAAI/Emu3-Chat-hf") from error
    if not fits:
        raise InputError(
            f"{folder}: its chat template does not put a picture before the question, and something for the answer to"
            " start from behind it: take the one of BAAI/Emu3-Chat-hf"
        )
