"""tiktoken's files give the tokenizers library the ids that tiktoken gives."""

from __future__ import annotations

import base64
import random
from itertools import pairwise
from pathlib import Path

import pytest
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from silmm.errors import InputError
from silmm.lmm.hf import tiktoken_file


def lowest_first(ranks: dict[bytes, int], text: bytes) -> list[int]:
    """tiktoken's own way: join the neighbours that make the token of the lowest rank, the first of equals."""
    parts = [text[i : i + 1] for i in range(len(text))]
    while True:
        joined = [(ranks[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in ranks]
        if not joined:
            return [ranks[part] for part in parts]
        _, i = min(joined)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


@pytest.fixture(scope="module")
def ranks() -> dict[bytes, int]:
    """256 bytes, and 600 tokens of them that were learned from few letters, so that most can be cut in several ways."""
    rng = random.Random(0)
    words = ["".join(rng.choice("aaabbc é") for _ in range(rng.randint(3, 12))) for _ in range(400)]
    learned = Tokenizer(BPE())
    learned.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learned.train_from_iterator(words, BpeTrainer(vocab_size=856, initial_alphabet=alphabet, show_progress=False))
    letters = {letter: byte for byte, letter in tiktoken_file.letters().items()}
    tokens = sorted(learned.get_vocab(), key=lambda token: learned.get_vocab()[token])
    return {bytes(letters[letter] for letter in token): rank for rank, token in enumerate(tokens)}


def write(folder: Path, ranks: dict[bytes, int]) -> Path:
    file = folder / "some.tiktoken"
    file.write_text("".join(f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks.items()))
    return file


def test_the_same_ids_as_tiktoken_s_own_way(ranks: dict[bytes, int], tmp_path: Path) -> None:
    vocab, merges = tiktoken_file.read(write(tmp_path, ranks))
    assert len(merges) == len(vocab) - 256 == len(set(merges))
    ambiguous = [
        token for token in ranks
        if sum(token[:i] in ranks and token[i:] in ranks for i in range(1, len(token))) > 1
    ]  # fmt: skip
    assert len(ambiguous) > 300
    tokenizer = Tokenizer(BPE(vocab, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    rng = random.Random(1)
    texts = ["".join(rng.choice("aaabbc éx\n日") for _ in range(60)) for _ in range(300)]
    for text in texts:
        assert tokenizer.encode(text).ids == lowest_first(ranks, text.encode())


def test_letters_are_those_of_byte_level_bpe() -> None:
    assert set(tiktoken_file.letters().values()) == set(pre_tokenizers.ByteLevel.alphabet())
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    text = "a é\n日\x00"
    shown = "".join(tiktoken_file.letters()[byte] for byte in text.encode())
    assert level.pre_tokenize_str(text)[0][0] == shown


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("IQ==", "line 3 is not a token in base64 and its rank"),
        ("IQ== 2 3", "line 3 is not a token"),
        ("I 2", "line 3 is not a token"),
        ("IQ== two", "line 3 is not a token"),
        ("IQ== 3", "line 3: expected a token that no line before has, and rank 2"),
        ("YQ== 2", "line 3: expected a token that no line before has"),
        ("eHl6 2", "is joined from no two tokens of lower ranks"),
        ("A" * 516 + " 2", "line 3 has a token of 516 letters: expected 512 at most"),
    ],
)
def test_what_is_no_such_file(tmp_path: Path, line: str, says: str) -> None:
    file = tmp_path / "some.tiktoken"
    file.write_text(f"YQ== 0\nYg== 1\n{line}\n")
    with pytest.raises(InputError, match=says) as error:
        tiktoken_file.read(file)
    assert str(file) in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(InputError, match="no such file"):
        tiktoken_file.read(tmp_path / "other.tiktoken")
