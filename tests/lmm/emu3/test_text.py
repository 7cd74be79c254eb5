"""Emu3's text: the ids that its authors' tokenizer gives (tiktoken, as their processing_emu3.py lays texts out), and no
control token that somebody typed."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import tiktoken
from tokenizers import pre_tokenizers

from silmm.lmm.emu3 import layout, tiny
from silmm.lmm.emu3.lmm import Emu3LMM
from silmm.lmm.emu3.names import VISUAL
from silmm.lmm.emu3.weights import load_processor
from silmm.lmm.interface import Sampling
from silmm.open_language.examples import PROMPTS
from silmm.open_language.instructions import ask_instruction, write_instruction
from tests.lmm.emu3.conftest import keys

# As tokenization_emu3.py of BAAI/Emu3-Gen has it: written down again, to hold `silmm.lmm.emu3.tokenizer` against.
PAT_STR = "|".join(
    [
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)", r"[^\r\n\p{L}\p{N}]?\p{L}+", r"\p{N}", r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+",
    ]
)  # fmt: skip
HARD = [
    "a heart-shaped box (small)", "cafe\u0301 au lait", "caf\u00e9", "DON'T, she'LL", "12 of 345", "  lead", "trail  ",
    "a\n\n b  \n c\n", "\u65e5\u672c!", '"a" ->\n\n',
]  # fmt: skip
INSTRUCTIONS = [
    *(write_instruction(name, (number,)) for name in PROMPTS for number in range(5)),
    *(ask_instruction(prompt) for prompts in PROMPTS.values() for prompt in prompts[:5]),
]
SAID = "You are a helpful assistant. USER: {}. ASSISTANT:"  # the authors' chat template, without a picture


@pytest.fixture(scope="module")
def authors(folders: dict[str, Path]) -> tiktoken.Encoding:
    """Their tokenizer, with the tiny one's vocabulary."""
    model = json.loads((folders["chat"] / "tokenizer.json").read_text())["model"]
    special = {name: number for name, number in model["vocab"].items() if name in tiny.SPECIALS}
    byte = {pre_tokenizers.ByteLevel().pre_tokenize_str(chr(c))[0][0]: c for c in range(128)}
    letters = {letter: index for index, letter in enumerate(_byte_letters())}
    assert all(letters[letter[-1]] == c for letter, c in byte.items())
    ranks = {
        bytes(letters[letter] for letter in piece): rank
        for piece, rank in model["vocab"].items()
        if piece not in special
    }
    return tiktoken.Encoding("Emu3", pat_str=PAT_STR, mergeable_ranks=ranks, special_tokens=special)


def _byte_letters() -> str:
    """The letter that stands for each byte in a byte-level vocabulary (GPT-2's): itself where it can be seen."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = iter(range(256, 512))
    return "".join(chr(byte if byte in seen else next(rest)) for byte in range(256))


def encode(authors: tiktoken.Encoding, text: str) -> list[int]:
    """As `Emu3Tokenizer.tokenize`, which its `__call__` uses: special tokens allowed, nothing added."""
    return authors.encode(unicodedata.normalize("NFC", text), allowed_special="all", disallowed_special=())


def test_instructions_have_the_authors_ids(lmm: Emu3LMM, authors: tiktoken.Encoding) -> None:
    texts = [*INSTRUCTIONS, *HARD]
    theirs = [encode(authors, tiny.BOS + SAID.format(text)) for text in texts]
    assert layout.text_prefixes(lmm.chat.processor, texts) == theirs


def test_captions_have_the_authors_ids(lmm: Emu3LMM, authors: tiktoken.Encoding) -> None:
    """No "." that the prompt does not have: image_generation.py writes "a shiba inu masterpiece, .."."""
    prompts = ["a shiba inu", "a portrait of young girl.", "a heart-shaped box", "two dogs!"]
    words = " masterpiece, film grained, best quality."
    header = "<|image start|>4*4<|image token|>"
    theirs = [encode(authors, f"{tiny.BOS}{prompt}{words}{header}") for prompt in prompts]
    assert layout.draw_prefixes(lmm.gen.processor, prompts, lmm.side) == theirs


def test_questions_have_the_authors_ids(lmm: Emu3LMM, authors: tiktoken.Encoding) -> None:
    tokenizer = lmm.tokenizer
    for question in ("Is there a heart-shaped box?", "Please describe the image", "Are there 12 cats?\n"):
        before, after = layout.split_at_image(lmm.chat.processor, question)
        theirs = encode(authors, SAID.format("<image>" + question))
        picture = tokenizer.convert_tokens_to_ids("<image>")
        own = [tokenizer.encode(text, add_special_tokens=False) for text in (before, after)]
        assert [*own[0], picture, *own[1]] == theirs


def test_answers_have_the_authors_ids(lmm: Emu3LMM, authors: tiktoken.Encoding) -> None:
    for text in HARD:
        assert lmm.answer_ids(text) == encode(authors, " " + text)


def test_the_tiny_file_would_be_cut_as_gpt2s(folders: dict[str, Path]) -> None:
    """It says what the converted weights' says, and its vocabulary shows the difference: or nothing is shown."""
    file = folders["chat"] / "tokenizer.json"
    assert json.loads(file.read_text())["pre_tokenizer"]["use_regex"] is True
    tokenizer = load_processor(folders["chat"]).tokenizer
    assert tokenizer.tokenize("a heart-shaped box")[-3:] == ["-shaped", "Ġbo", "x"]
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    assert tokenizer.tokenize("a heart-shaped box")[-5:-2] == ["-", "s", "haped"]


# ---- what somebody typed ---------------------------------------------------------------------------------------------

TYPED = [
    "<image>", "<|image start|>", "<|extra_203|>", VISUAL.format(7), "<|image<image>start|>", "<im<|image end|>age>",
    "<|<|<|image end|>extra_204|>extra_204|>",
]  # fmt: skip


@pytest.mark.parametrize("name", TYPED)
def test_names_of_special_tokens_are_taken_out(lmm: Emu3LMM, name: str) -> None:
    """Wherever a text comes in: the ids are those of a text without the name, and only the layout's control tokens."""
    processor, special = lmm.chat.processor, set(lmm.tokenizer.all_special_ids) | set(lmm.chat.visual_C.tolist())
    text = f"a cat {name} on a mat"
    clean = layout.text_prefixes(processor, ["a cat on a mat"])[0]
    (ids,) = layout.text_prefixes(processor, [text])
    (drawn,) = layout.draw_prefixes(lmm.gen.processor, [text], lmm.side)
    before, after = layout.split_at_image(processor, text)
    assert [i for i in ids if i in special] == [i for i in clean if i in special] == clean[:1]
    assert [i for i in drawn if i in special] == lmm.tokenizer.convert_tokens_to_ids(
        [tiny.BOS, "<|image start|>", "<|image token|>"]
    )
    assert not special & {*lmm.tokenizer.encode(before), *lmm.tokenizer.encode(after)}


def test_typed_names_do_not_stop_the_lmm(lmm: Emu3LMM) -> None:
    typed = "a cat <image> on a <|image start|> mat"
    picture = np.zeros((32, 32, 3), np.uint8)
    assert (lmm.look([picture], [[typed]])[0] > 0).all()
    assert lmm.draw([typed], keys(1, 1), Sampling()).tokens_PNL.shape == (1, 1, 16)
    one, other = lmm.text_nll([("write", "color", typed)]), lmm.text_nll([("write", "color", "a cat   on a   mat")])
    assert float(one) == float(other)
