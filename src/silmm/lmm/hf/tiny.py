"""For tiny LMMs with random weights, whose text should look like words: a tokenizer, and a leaning of the next token.

Both are for tests and for trying a workflow: what such a model says and draws means nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

_TEXT = """
a an the is are there in on of and with to its it one two three four this that picture image photo
red blue green yellow black white brown orange pink purple gray golden dark bright
round square oval small big tall long tiny large short
wooden metal glass plastic leather rubber fabric fluffy shiny smooth striped
apple banana bear bench bicycle bird boat book bottle bowl bus cake car cat chair clock cow cup dog door fish flower
giraffe hat horse house key kite lamp leaf man mirror person piano plate rabbit rose shoe sofa table tree
turtle vase wall window woman
left right top bottom above below behind front near next side under
holding riding wearing watching eating reading playing standing sitting walking looking
"""
WORDS = _TEXT.split()
ENDS = (",", ".", "?", "\n")
ANSWERS = ("yes", "Yes", "no", "No", "YES", "NO")
_ASCII = [chr(code) for code in range(33, 127)]


def bpe(
    specials: Sequence[str], *, more: Sequence[str] = (), prepare: Callable[[Tokenizer], object] | None = None
) -> Tokenizer:
    """A byte-level BPE tokenizer whose whole words are `WORDS`, with a space before; special tokens come last.

    Args:
        more: pieces that are merged whole, too.
        prepare: sets how text is cut, before anything is merged.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = [pre_tokenizers.ByteLevel().pre_tokenize_str(c)[0][0][-1] for c in (*_ASCII, " ", "\n")]
    if prepare is not None:
        prepare(tokenizer)
    # Every word is as frequent as any other, so all are merged whole.
    text = "".join(f" {word}" for word in (*WORDS, *ANSWERS))
    trainer = trainers.BpeTrainer(vocab_size=4096, min_frequency=1, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([text, *ANSWERS, *more], trainer)
    tokenizer.add_special_tokens(list(specials))
    return tokenizer


def leaning(tokenizer: Tokenizer, size: int, stop: str) -> Tensor:
    """A constant part for the logits `[size]` of the next token: whole words mostly, now and then an answer or the end
    of a phrase or of the text, and hardly anything else."""
    logits_V = torch.full((size,), -12.0)
    for texts, value in (([f" {word}" for word in WORDS], 0.0), ([f" {word}" for word in ANSWERS], 2.0), (ENDS, 1.5)):
        for text in texts:
            logits_V[tokenizer.encode(text, add_special_tokens=False).ids[0]] = value
    logits_V[tokenizer.token_to_id(stop)] = 2.5
    return logits_V


@torch.no_grad()
def lean(decoder: Any, head: Any, logits_V: Tensor, *others: Any) -> None:
    """Add nearly `logits_V` to a random decoder's logits, whatever it read.

    The first channel becomes a constant: every embedding has it, no layer writes to it, and the head's first column
    holds the leaning. `others`: linear layers, with biases, whose outputs stand in for embeddings.
    """
    width = head.in_features
    constant = float(decoder.embed_tokens.weight.std()) * width**0.5
    decoder.embed_tokens.weight[:, 0] = constant
    for linear in others:
        linear.weight[0] = 0
        linear.bias[0] = constant
    for layer in decoder.layers:
        for linear in (layer.self_attn.o_proj, layer.mlp.down_proj):
            linear.weight[0] = 0
    scale = width**0.5 * constant / (constant**2 + width * float(decoder.embed_tokens.weight[:, 1:].var())) ** 0.5
    head.weight[:, 0] = logits_V / scale


def command(title: str, build: Callable[..., None], arguments: Sequence[str] | None) -> None:
    """`--out FOLDER [--seed N]`: build a tiny one there."""
    parser = argparse.ArgumentParser(description=f"Write a tiny {title} with random weights.")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    build(options.out, seed=options.seed)
