"""sentencepiece's own file gives sentencepiece's own ids, in whatever order its pieces stand."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as protobuf
from tokenizers import Tokenizer

from silmm.lmm.hf import tiny_sentencepiece
from silmm.lmm.hf.pieces import bpe


@pytest.fixture(scope="module", params=["as trained", "shuffled"])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny ones' tokenizer.model; or one whose ids say nothing of its scores."""
    out = tmp_path_factory.mktemp("pieces") / "tokenizer.model"
    model = protobuf.ModelProto.FromString(tiny_sentencepiece.pieces())
    if request.param == "shuffled":
        pieces = list(model.pieces)
        behind = [piece for piece in pieces if piece.type == protobuf.ModelProto.SentencePiece.NORMAL]
        before = [piece for piece in pieces if piece.type != protobuf.ModelProto.SentencePiece.NORMAL]
        random.Random(0).shuffle(behind)
        del model.pieces[:]
        model.pieces.extend([*before, *behind])
    out.write_bytes(model.SerializeToString())
    return out


def texts() -> list[str]:
    """Words, spaces in number, bytes, and names of bytes and control tokens as somebody may type them."""
    rng = random.Random(1)
    words = ["red", "apples", "a", "appleapple", "dog.", "2", "日本", "é", "<0x0A>", "\n", "▁", "zzz", "<s"]
    spaces = [" ", "  ", "   ", "     ", "", "\t"]
    return ["".join(rng.choice(words) + rng.choice(spaces) for _ in range(8)) for _ in range(300)]


def test_ids_are_sentencepiece_s(file: Path) -> None:
    model = sentencepiece.SentencePieceProcessor(model_file=str(file))
    own = Tokenizer(bpe(file))
    for text in texts():
        assert own.encode("▁" + text.replace(" ", "▁")).ids == model.encode(text), text


def test_the_tiny_ones_have_pieces_of_spaces_as_llama_has(file: Path) -> None:
    model = sentencepiece.SentencePieceProcessor(model_file=str(file))
    ids = [model.piece_to_id("▁" * n) for n in (2, 4)]
    assert [model.get_score(i) for i in ids] == [-1e9, -1e9] and model.get_score(model.piece_to_id("▁red")) > -1e4
    assert model.encode(" red", out_type=str) == ["▁", "▁red"]  # with the space that every text starts with
