"""tokenizer.model, sentencepiece's own file, as a BPE of the tokenizers library that gives sentencepiece's ids.

transformers 5 orders merges by ids. In LLaMA's file a piece of two spaces has a low id, and a score of -1e9, so that it
is merged last: by ids, two spaces merge before a space and the word behind it.
"""

from __future__ import annotations

from pathlib import Path

from tokenizers.models import BPE


def bpe(file: Path) -> BPE:
    """The pieces, with merges from the highest score down. Bytes, control tokens and the unknown one are never merged.

    Raises sentencepiece's OSError or RuntimeError where this is no such file.
    """
    import sentencepiece
    from transformers.tokenization_utils_base import generate_merges

    model = sentencepiece.SentencePieceProcessor(model_file=str(file))
    ids = range(model.get_piece_size())
    names = {model.id_to_piece(i): i for i in ids}
    scores = {name: model.get_score(i) for name, i in names.items()}
    apart = {name for name, i in names.items() if model.is_byte(i) or model.is_control(i) or model.is_unknown(i)}
    return BPE(vocab=names, merges=generate_merges(names, scores, skip_tokens=apart), fuse_unk=True, byte_fallback=True)
