"""Emu3's tokens by name: a checkpoint says which ids they have, and nothing else does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from silmm.errors import InputError

END_OF_LINE = "<|extra_200|>"  # closes each row of visual tokens; transformers, too, knows it by this name alone
VISUAL = "<|visual token {:06d}|>"  # of a code of the VQ tokenizer
ROLES = ("image_token", "boi_token", "eoi_token", "image_wrapper_token", "eof_token", "bos_token", "eos_token",
         "pad_token")  # attributes that transformers' processor and silmm need of the tokenizer  # fmt: skip


class Names(NamedTuple):
    """Ids in the vocabulary of the language model."""

    visual: list[int]  # of the visual token of each code
    end_of_line: int


def read(folder: Path, config: Any, tokenizer: Any) -> Names:
    """The ids that the vocabulary_map of config.json, an `Emu3Config`, and the tokenizer both give.

    Raises InputError where one of them lacks visual tokens or a marker, or they disagree.
    """
    codes, mapped = config.vq_config.codebook_size, config.vocabulary_map
    if not mapped:
        raise InputError(
            f"{folder / 'config.json'}: no vocabulary_map: expected the ids of {codes} visual tokens, as in the"
            " converted weights (BAAI/Emu3-Gen-hf, BAAI/Emu3-Chat-hf)"
        )
    vocabulary = tokenizer.get_vocab()
    lost = [role for role in ROLES if getattr(tokenizer, role, None) not in vocabulary]
    if lost:
        raise InputError(
            f"{folder / 'tokenizer_config.json'}: names no {', '.join(lost)}: not the tokenizer of the converted Emu3:"
            " download it again"
        )
    own = _ids(f"{folder / 'tokenizer.json'}: the tokenizer", vocabulary, codes)
    if own != _ids(f"{folder / 'config.json'}: vocabulary_map", mapped, codes):
        raise InputError(
            f"{folder}: config.json's vocabulary_map and the tokenizer give visual tokens different ids: they are of"
            " different checkpoints; download the folder again"
        )
    return own


def _ids(where: str, ids: Mapping[str, int], codes: int) -> Names:
    wanted = [VISUAL.format(code) for code in range(codes)]
    lost = [name for name in [END_OF_LINE, *wanted] if name not in ids]
    if lost:
        raise InputError(
            f"{where} lacks {len(lost)} of Emu3's {codes} visual tokens and its end of line, as {lost[0]}: silmm draws"
            " with them; take the converted weights (BAAI/Emu3-Gen-hf, BAAI/Emu3-Chat-hf)"
        )
    return Names([ids[name] for name in wanted], ids[END_OF_LINE])
