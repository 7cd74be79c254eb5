"""What spaCy says of prompts: their words with parts of speech, and their noun chunks."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from silmm.errors import InputError

if TYPE_CHECKING:
    from spacy.tokens import Doc

MODEL = "en_core_web_sm"  # of the published evaluators


class Word(NamedTuple):
    """One token of a prompt."""

    text: str
    lemma: str
    pos: str  # universal: "NOUN", "ADJ", ..


class Words(NamedTuple):
    """A prompt as spaCy reads it."""

    words: tuple[Word, ...]
    chunks: tuple[str, ...]  # noun chunks, as they stand in the prompt


@functools.cache
def _pipeline() -> Any:
    """spaCy's pipeline, loaded once. Raises InputError, with the commands that install it, where it is not there."""
    try:
        import spacy
    except ImportError:
        raise InputError(
            "spaCy is not installed, which finds the nouns of a prompt: pip install 'silmm[judges]', then"
            f" python -m spacy download {MODEL}"
        ) from None
    try:
        return spacy.load(MODEL)
    except OSError:
        raise InputError(f"spaCy has no model {MODEL}: run python -m spacy download {MODEL}") from None


def parser() -> str:
    """What parses here, with versions: another parser gives other scores. Raises InputError where there is none."""
    pipeline = _pipeline()
    import spacy

    return f"spacy {spacy.__version__}, {MODEL} {pipeline.meta['version']}"


def read_words(prompts: Sequence[str]) -> dict[str, Words]:
    """Parse prompts. Raises InputError where there is nothing to do it with."""
    distinct = list(dict.fromkeys(prompts))
    return dict(zip(distinct, map(words_of, _pipeline().pipe(distinct)), strict=True)) if distinct else {}


def words_of(doc: Doc) -> Words:
    """The words and noun chunks of a parsed prompt."""
    words = tuple(Word(token.text, token.lemma_, token.pos_) for token in doc)
    return Words(words, tuple(chunk.text for chunk in doc.noun_chunks))
