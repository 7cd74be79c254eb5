"""How Janus lays out its sequences (transformers' `JanusProcessor`, and the chat template beside the weights).

    draw  <bos> USER: PROMPT ASSISTANT: <boi> | codes of the visual tokenizer, with an embedding and a head of their own
          <bos> <pad> <pad> .. <boi>          | the same without a prompt, as long, for guidance
    look  <bos> SYSTEM USER: <boi> image <eoi> | QUESTION ASSISTANT:
    text  <bos> SYSTEM USER: INSTRUCTION ASSISTANT: | ANSWER <eos>

Everything is found by its name in the checkpoint's files: sizes of Janus differ in the ids of their special tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from silmm.errors import InputError
from silmm.lmm.hf.text import plain

BLANK = "<｜▁pad▁｜>"  # stands for a prompt's tokens where there is none: the authors' pad_tag, by its name


def draw_ids(processor: Any, prompt: str) -> list[int]:
    """What a picture is drawn from. There is no system prompt in it."""
    return _encode(processor, conversation(processor, prompt) + processor.image_start_token)


def unconditional(processor: Any, ids: list[int], blank: int) -> list[int]:
    """The same places without a prompt: all but the start of the text and of the picture is `blank`, the id of `BLANK`;
    it is seen."""
    tokenizer = processor.tokenizer
    kept = {tokenizer.bos_token_id, tokenizer.convert_tokens_to_ids(processor.image_start_token)}
    return [token if token in kept else blank for token in ids]


def text_ids(processor: Any, instruction: str) -> list[int]:
    """An instruction, up to where the answer starts."""
    return _encode(processor, _system(processor) + conversation(processor, instruction))


def look_ids(processor: Any, question: str) -> tuple[list[int], list[int]]:
    """A question about a picture: what stands before it, with a place for each of the picture's embeddings, and what
    follows the picture. Raises ValueError where the chat template has no one place for the picture."""
    text = _system(processor) + conversation(processor, question, image=True)
    ids = _encode(processor, text)
    start, image, end = processor.tokenizer.convert_tokens_to_ids(
        [processor.image_start_token, processor.image_token, processor.image_end_token]
    )
    if ids.count(image) != 1:
        raise ValueError(f"{ids.count(image)} places for one picture")
    at = ids.index(image)
    return [*ids[:at], start, *[image] * processor.num_image_tokens, end], ids[at + 1 :]


def conversation(processor: Any, text: str, *, image: bool = False) -> str:
    """What the user says, in the checkpoint's chat template, up to where the answer starts."""
    said = [{"type": "image"}] * image + [{"type": "text", "text": plain(processor.tokenizer, text)}]
    return processor.apply_chat_template([{"role": "user", "content": said}], add_generation_prompt=True)


def check_template(folder: Path, processor: Any) -> None:
    """Raise InputError where the chat template does not put a picture before all that differs between questions."""
    try:
        (first, one), (second, other) = (look_ids(processor, word) for word in ("a", "b c"))
        fits = first == second and one != other and conversation(processor, "abc").count("abc") == 1
    except Exception as error:  # jinja's errors are of many kinds
        raise InputError(f"{folder}: its chat template fails ({error}): take the one beside the weights") from error
    if not fits:
        raise InputError(
            f"{folder}: its chat template does not put a picture before the question: take the one beside the weights"
        )


def _system(processor: Any) -> str:
    from transformers.models.janus.processing_janus import DEFAULT_SYSTEM_PROMPT

    return DEFAULT_SYSTEM_PROMPT if processor.use_default_system_prompt else ""


def _encode(processor: Any, text: str) -> list[int]:
    """Ids, which start with the one that starts a text: some tokenizers' files add it, some do not."""
    ids = processor.tokenizer(text).input_ids
    start = processor.tokenizer.bos_token_id
    return ids if ids[:1] == [start] else [start, *ids]
