"""For tiny LMMs of LLaMA's kind: a sentencepiece tokenizer of whole English words, and a leaning of the next token."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from silmm.lmm.hf.tiny import ANSWERS, WORDS

SPACE = "▁"  # how sentencepiece writes it
ENDS = (",", ".", "?", "<0x0A>")
SPECIALS = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}  # as LLaMA has them


def pieces() -> bytes:
    """A tokenizer.model in the manner of LLaMA's: BPE with bytes for what it has no piece for."""
    import sentencepiece

    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*WORDS, *ANSWERS]), model_writer=out, model_type="bpe", vocab_size=4000,
        hard_vocab_limit=False, byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        split_digits=True, character_coverage=1.0, required_chars="".join(map(chr, range(33, 127))), num_threads=1,
        minloglevel=2,
    )  # fmt: skip
    return with_spaces(out.getvalue())


def with_spaces(model: bytes) -> bytes:
    """A tokenizer.model with pieces of two and four spaces as LLaMA has them: right behind the bytes, so with low ids,
    and with the lowest of scores, so that they are merged last."""
    from sentencepiece import sentencepiece_model_pb2 as protobuf

    proto: Any = protobuf.ModelProto  # type: ignore[attr-defined]  # made when it is imported
    read = proto.FromString(model)
    pieces = list(read.pieces)
    behind = 1 + max(i for i, piece in enumerate(pieces) if piece.type == proto.SentencePiece.BYTE)
    more = [proto.SentencePiece(piece=SPACE * n, score=-1e9) for n in (2, 4)]
    del read.pieces[:]
    read.pieces.extend([*pieces[:behind], *more, *pieces[behind:]])
    return read.SerializeToString(deterministic=True)


def write(folder: Path, model: bytes, added: Sequence[str], *, named: str) -> dict[str, int]:
    """Write the tokenizer's files, with tokens behind its own, in this order; returns the whole vocabulary. `named`:
    the class that tokenizer_config.json names."""
    import sentencepiece

    tokenizer = sentencepiece.SentencePieceProcessor(model_proto=model)
    own = tokenizer.get_piece_size()
    ids = {name: own + i for i, name in enumerate(added)}
    config = {"tokenizer_class": named, "add_bos_token": True, "add_eos_token": False, "model_max_length": 2048}
    (folder / "tokenizer.model").write_bytes(model)
    for name, fields in (
        ("added_tokens.json", ids), ("special_tokens_map.json", SPECIALS), ("tokenizer_config.json", config | SPECIALS),
    ):  # fmt: skip
        (folder / name).write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")
    return {tokenizer.id_to_piece(i): i for i in range(own)} | ids


def leaning(vocabulary: Mapping[str, int]) -> Tensor:
    """A constant part for the logits `[vocabulary]` of the next token: whole words mostly, now and then an answer or
    the end of a phrase or of the text, and hardly anything else."""
    logits_V = torch.full((len(vocabulary),), -12.0)
    words, answers = ([SPACE + word for word in some] for some in (WORDS, ANSWERS))
    for names, value in ((words, 0.0), (answers, 2.0), (ENDS, 1.5), (("</s>",), 2.5)):
        for name in names:
            if name in vocabulary:  # not every word is one piece
                logits_V[vocabulary[name]] = value
    return logits_V
