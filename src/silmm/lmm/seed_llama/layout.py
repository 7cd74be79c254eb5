"""How SEED-LLaMA lays out its sequences, after the authors' scripts; BOS is written as text.

    draw  <s>USER: Can you generate an image of PROMPT?\\nASSISTANT:<img> | v v .. v        one visual token v a place
    look  <s>USER:<img> v v .. v </img> | QUESTION\\nASSISTANT:
    text  <s>USER: INSTRUCTION\\nASSISTANT: | ANSWER </s>

The authors write a space, or a line's end, before `<img>`. Their transformers (4.30.2, and up to 4.33.3) strips text
beside tokens of added_tokens.json and reads each piece of it apart; so is it done here.

These are the words of the 8B model, which comes from Vicuna; the 14B one, from LLaMA-2-chat, has its own around the
same. Both have one tokenizer and no chat template in their files, so `adopt.template` says which.
"""

from __future__ import annotations

from typing import Any

from silmm.lmm.hf.text import plain
from silmm.lmm.seed_llama.names import START

TEMPLATES = {"vicuna": "USER: {}\nASSISTANT:", "llama2": "[INST] {} [/INST]\n"}
REQUEST = "Can you generate an image of {}?"  # one of the phrasings that it was tuned on


def text_ids(tokenizer: Any, template: str, said: str) -> list[int]:
    """What a user says, up to where the answer starts."""
    return _encode(tokenizer, tokenizer.bos_token + TEMPLATES[template].format(plain(tokenizer, said)))


def draw_ids(tokenizer: Any, template: str, prompt: str) -> list[int]:
    """What a picture is drawn from, and its log-probs are conditioned on: a request, and an answer that has begun to
    be a picture."""
    said = REQUEST.format(plain(tokenizer, prompt).strip().rstrip(".!?"))
    return _up_to_picture(tokenizer, TEMPLATES[template].format(said))


def look_ids(tokenizer: Any, template: str, question: str) -> tuple[list[int], list[int]]:
    """A question about a picture: what stands before the picture's visual tokens, and what follows its end marker. No
    space separates picture and question."""
    before, after = TEMPLATES[template].split("{}")
    return _up_to_picture(tokenizer, before), _encode(tokenizer, (plain(tokenizer, question) + after).lstrip())


def _up_to_picture(tokenizer: Any, text: str) -> list[int]:
    return [*_encode(tokenizer, tokenizer.bos_token + text.rstrip()), tokenizer.convert_tokens_to_ids(START)]


def _encode(tokenizer: Any, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False)
