"""Words, control tokens and visual tokens of the discrete ShapeWorld LMM, as a Hugging Face tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers

from silmm.errors import TextError
from silmm.shapeworld.language import SUBCATEGORIES, lexicon
from silmm.shapeworld.scene import GRID
from silmm.typed_json import short

CONTROL = (
    "<pad>",
    "<bos>",
    "<eos>",
    "<draw>",
    "<look>",
    "<list>",
    "<write>",
    "<ask>",
    "<image>",
    "</image>",
    "<ask_image>",
    "<where>",
)
PLACES = (*(f"<row_{i}>" for i in range(GRID - 1)), *(f"<col_{i}>" for i in range(GRID - 1)))
ANSWERS = ("no", "yes")


class Vocab:
    """Token ids by text, and back. Built once for a number of visual tokens, or loaded from a checkpoint."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.ids: dict[str, int] = tokenizer.get_vocab()
        self.tokens = [t for t, _ in sorted(self.ids.items(), key=lambda item: item[1])]
        self.first_visual = self.ids["<visual_0>"]
        self.n_visual = len(self.tokens) - self.first_visual
        self.pad, self.bos, self.eos = (self.ids[t] for t in ("<pad>", "<bos>", "<eos>"))
        self.no, self.yes = (self.ids[t] for t in ANSWERS)

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        """Ids of space-separated text. Raises TextError naming the first unknown word."""
        try:
            return [self.ids[word] for word in text.split()]
        except KeyError as error:
            word = short(error.args[0])
            raise TextError(
                f"unknown word {word} in {short(text)}: ShapeWorld's words are {' '.join(lexicon())}"
            ) from None

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, up to the end token, without padding."""
        words = []
        for i in ids:
            if i == self.eos:
                break
            if i != self.pad:
                words.append(self.tokens[i])
        return " ".join(words)


def build(n_visual: int) -> Vocab:
    """A fresh vocabulary with `n_visual` visual tokens at its end."""
    categories = [f"<{name}>" for name in SUBCATEGORIES]
    tokens = [*CONTROL, *PLACES, *categories, *ANSWERS, *lexicon(), *(f"<visual_{i}>" for i in range(n_visual))]
    model = models.WordLevel({t: i for i, t in enumerate(tokens)}, unk_token="<pad>")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return Vocab(tokenizer)


def load(folder: Path) -> Vocab:
    """The vocabulary of a checkpoint folder."""
    return Vocab(Tokenizer.from_file(str(folder / "tokenizer.json")))
