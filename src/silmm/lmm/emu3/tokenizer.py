"""Emu3's text, as its authors tokenise it: by tiktoken with a pattern of their own (tokenization_emu3.py of BAAI's
repositories).

transformers reads the converted tokenizer.json as GPT-2's, and cuts text by GPT-2's pattern whatever the file says:
"-shaped" and a full stop before the end of a line then fall into pieces that the model was never given so.
"""

from __future__ import annotations

from typing import Any

from tokenizers import Regex, normalizers, pre_tokenizers

# PAT_STR of the authors: where text is cut before its bytes are merged.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def cut_as_published(backend: Any) -> None:
    """Let a byte-level BPE tokenizer (of the library tokenizers) cut text by `PATTERN`, after Unicode's NFC."""
    split = pre_tokenizers.Split(Regex(PATTERN), "isolated")
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Sequence([split, level])
