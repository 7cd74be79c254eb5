"""How SEED-LLaMA lays out its sequences, after the authors' scripts; BOS is written as text.

    draw  <s>USER: Can you generate an image of PROMPT?\\nASSISTANT:<img> | v v .. v        one visual token v a place
    look  <s>USER: <img> v v .. v </img> | QUESTION\\nASSISTANT:
    text  <s>USER: INSTRUCTION\\nASSISTANT: | ANSWER </s>

These are the words of the 8B model, which comes from Vicuna; the 14B one, from LLaMA-2-chat, has its own around the
same. Both have one tokenizer and no chat template in their files, so `adopt.template` says which.
"""

from __future__ import annotations

from typing import Any

from silmm.lmm.hf.text import plain
from silmm.lmm.seed_llama.names import END, START

TEMPLATES = {"vicuna": "USER: {}\nASSISTANT:", "llama2": "[INST] {} [/INST]\n"}
REQUEST = "Can you generate an image of {}?"  # one of the phrasings that it was tuned on


def text_ids(tokenizer: Any, template: str, said: str) -> list[int]:
    """What a user says, up to where the answer starts."""
    return _encode(tokenizer, _turn(tokenizer, template, plain(tokenizer, said)))


def draw_ids(tokenizer: Any, template: str, prompt: str) -> list[int]:
    """What a picture is drawn from, and its log-probs are conditioned on: a request, and an answer that has begun to
    be a picture."""
    said = REQUEST.format(plain(tokenizer, prompt).strip().rstrip(".!?"))
    return _encode(tokenizer, _turn(tokenizer, template, said) + START)


def look_ids(tokenizer: Any, template: str, question: str) -> tuple[list[int], list[int]]:
    """A question about a picture: what stands before the picture's visual tokens, and what follows its end marker. No
    space separates picture and question."""
    text = _turn(tokenizer, template, START + END + plain(tokenizer, question))
    before, _, after = text.partition(END)
    return _encode(tokenizer, before), _encode(tokenizer, after)


def _turn(tokenizer: Any, template: str, said: str) -> str:
    return tokenizer.bos_token + TEMPLATES[template].format(said)


def _encode(tokenizer: Any, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False)
