"""Text by a decoder: as one would compute it row by row without a cache, whatever the batch."""

from __future__ import annotations

import pytest
import torch
from tokenizers import AddedToken
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from silmm.errors import InputError
from silmm.kernels.nucleus import nucleus
from silmm.lmm.hf import text
from silmm.lmm.hf.text import TextModel

PROMPTS = [[1, 5, 7], [1, 9, 11, 13, 15, 17], [1, 3], [1, 8, 6, 4, 12], [1, 30]]
KEYS = [(0, "row", i) for i in range(len(PROMPTS))]


@torch.no_grad()
def by_hand(llama: LlamaForCausalLM, prompt: list[int], key: tuple | None, length: int) -> list[int]:
    """One row, no cache, no padding."""
    ids, numbers = list(prompt), text.uniforms([key or (0,)], length)
    for step in range(length):
        logits = llama(torch.tensor([ids])).logits[:, -1]
        token = int(logits.argmax(-1) if key is None else nucleus(logits, numbers[:, step], temperature=0.8))
        if token == 2:
            break
        ids.append(token)
    return ids[len(prompt) :]


@pytest.mark.parametrize("rows", [1, 2, 16])
@pytest.mark.parametrize("keyed", [True, False])
def test_sampling_is_row_by_row(llama: LlamaForCausalLM, speaker: TextModel, rows: int, keyed: bool) -> None:
    keys = KEYS if keyed else None
    found = text.sample(speaker._replace(rows=rows), PROMPTS, length=12, keys=keys, temperature=0.8)
    assert found == [by_hand(llama, p, k if keyed else None, 12) for p, k in zip(PROMPTS, KEYS, strict=True)]
    assert len({tuple(row) for row in found}) > 1


def test_sampling_stops(speaker: TextModel) -> None:
    stop = text.sample(speaker, PROMPTS[:1], length=4, keys=KEYS[:1])[0][1]
    stopped = text.sample(speaker._replace(stops=frozenset({stop})), PROMPTS[:1], length=4, keys=KEYS[:1])[0]
    assert stop not in stopped and len(stopped) <= 1


def test_nothing_to_sample(speaker: TextModel) -> None:
    assert text.sample(speaker, [], length=4) == []


def test_likelihood(llama: LlamaForCausalLM, speaker: TextModel) -> None:
    pairs = [([1, 5, 7], [9, 2]), ([1, 3], [4, 4, 8, 2]), ([1, 6, 8, 10], [12, 2]), ([1], [2]), ([1, 2], [7, 2])]
    logps = []
    for prompt, output in pairs:
        logits = llama(torch.tensor([prompt + output])).logits.log_softmax(-1)[0]
        logps += [logits[len(prompt) - 1 + k, token] for k, token in enumerate(output)]
    wanted = -torch.stack(logps).mean()
    for rows in (1, 3, 8):
        found = text.nll(speaker._replace(rows=rows), pairs)
        assert found.requires_grad and found.device.type == "cpu"
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


class Words:
    """As much of a tokenizer as is asked."""

    name_or_path, unk_token_id = "toy", 0

    def __init__(self, **ids: int) -> None:
        self.ids = ids

    def get_vocab(self) -> dict[str, int]:
        return self.ids

    def encode(self, word: str, add_special_tokens: bool) -> list[int]:
        return [1, 2] if word == " YES" else [self.ids.get(word.replace(" ", "_"), 0)]


def test_yes_and_no() -> None:
    assert text.yes_no_ids(Words(yes=3, _yes=4, Yes=5, no=6, _No=7)) == ([3, 4, 5], [6, 7])
    with pytest.raises(InputError, match="toy: the tokenizer has no single token for any of no, No, NO"):
        text.yes_no_ids(Words(yes=3))


# ---- names of added tokens -------------------------------------------------------------------------------------------


class Added(Words):
    """A tokenizer with added tokens, which counts how often it is asked for them."""

    def __init__(self, *names: str, letters: str = "") -> None:
        super().__init__()
        self.asked = 0
        self.tokens = [AddedToken(name, special=True) for name in names] + [
            AddedToken(c, special=False) for c in letters
        ]

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        self.asked += 1
        return dict(enumerate(self.tokens))


NAMES = ("<s>", "<image>", "<|image start|>", "<|image start|>>", "[INST]", *(f"<img_{i:05d}>" for i in range(8192)))


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("a cat", "a cat"),
        ("2 < 3 [sic]", "2 < 3 [sic]"),
        ("<s>a<image>b[INST]", " a b "),
        ("a<|image start|>>b", "a b"),  # the longer name
        ("<|image<image>start|>", " "),  # what taking one out makes
        ("<i<s>mage>", "<i mage>"),
        ("x<img_00007><img_08191><img_08192>", "x  <img_08192>"),
    ],
)
def test_names_of_added_tokens_are_taken_out(said: str, left: str) -> None:
    assert text.plain(Added(*NAMES), said) == left


def test_letters_that_a_tokenizer_adds_stay() -> None:
    """DeepSeek's has some, which are no special tokens."""
    assert text.plain(Added("<s>", letters="\u00fc\u00e4"), "<s>\u00fcber \u00e4") == " \u00fcber \u00e4"
    assert text.plain(Added(), "<s>") == "<s>"


def test_a_tokenizer_is_asked_once_for_its_names() -> None:
    """8,197 names and 17 ms a text otherwise."""
    tokenizer = Added(*NAMES)
    for _ in range(100):
        text.plain(tokenizer, "Is there <s> a cat?")
    assert tokenizer.asked == 1
