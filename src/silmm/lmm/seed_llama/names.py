"""SEED-LLaMA's visual tokens and markers, found by their names in the tokenizer: no id is written down."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

from silmm.errors import InputError
from silmm.lmm.hf.pieces import bpe
from silmm.typed_json import loads

START, END = "<img>", "</img>"  # of a picture
VISUAL = "<img_{:05d}>"  # of a code of the picture tokenizer
ADVICE = "take the folder of the published tokenizer (AILab-CVC/seed-tokenizer-2)"


class Names(NamedTuple):
    """Ids in the vocabulary of the language model."""

    visual: list[int]  # of the visual token of each code
    start: int
    end: int


def load_tokenizer(folder: Path) -> Any:
    """The `LlamaTokenizer`, with the ids that SEED-LLaMA was trained with.

    Raises InputError where there is none, or it has other ids than its files say.
    """
    from transformers import LlamaTokenizer

    for name in ("tokenizer.model", "added_tokens.json"):
        if not (folder / name).is_file():
            raise InputError(f"{folder / name}: no such file: {ADVICE}")
    try:
        # Not legacy, transformers' own choice, gives words behind a special token other ids than the model has seen.
        tokenizer = LlamaTokenizer.from_pretrained(folder, legacy=True, local_files_only=True, padding_side="left")
        tokenizer.backend_tokenizer.model = bpe(folder / "tokenizer.model")
        added = loads((folder / "added_tokens.json").read_text(encoding="utf-8"))
        moved = [name for name, number in added.items() if tokenizer.convert_tokens_to_ids(name) != number]
    except Exception as error:  # of many kinds: protobuf's, json's, transformers' own
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{folder}: not a tokenizer of LLaMA ({reason}): {ADVICE}") from error
    if moved:  # transformers counts on from the last piece, whatever the file says
        raise InputError(
            f"{folder / 'added_tokens.json'}: {moved[0]} has the id {added[moved[0]]}, which does not follow on the"
            f" pieces of tokenizer.model: the files are of different tokenizers: {ADVICE}"
        )
    return tokenizer


def read(folder: Path, tokenizer: Any, *, codes: int, rows: float = math.inf) -> Names:
    """Ids of the markers and of the visual tokens of so many codes; `rows`: of the language model's embeddings.

    Raises InputError where the tokenizer lacks one, or the language model has no row for it.
    """
    vocabulary = tokenizer.get_vocab()
    wanted = [START, END, *map(VISUAL.format, range(codes))]
    lost = [name for name in wanted if name not in vocabulary]
    if lost:
        raise InputError(
            f"{folder}: the tokenizer lacks {len(lost)} of {codes} visual tokens and two markers, as {lost[0]}:"
            f" {ADVICE}"
        )
    beyond = [name for name in wanted if vocabulary[name] >= rows]
    if beyond:
        raise InputError(
            f"{folder}: {beyond[0]} has the id {vocabulary[beyond[0]]}, but the language model has {rows} tokens: give"
            " the folder of a SEED-LLaMA, whose vocabulary is larger than LLaMA's"
        )
    start, end, *visual = (vocabulary[name] for name in wanted)
    return Names(visual, start, end)
