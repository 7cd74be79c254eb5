"""Qwen2.5-VL and Qwen3-VL answer questions (arXiv 2502.13923, 2511.21631): Qwen3-VL-8B-Instruct is GenEval 2's judge.

A question is put as a user's message behind the picture, in the chat template that the folder brings; nothing is added
to it unless an answer is to be written (BRIEFLY). The probability of a choice is that of the next token, summed
over the choice's plain variants: as it is and capitalised, with and without a space before, as GenEval 2 does it
(facebookresearch/GenEval2@a6e82d2: evaluation.py). Of a variant of several tokens the first counts, there as here;
with `whole`, it does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from silmm.benchmarks.judges.interface import Answer, Card, Query
from silmm.benchmarks.judges.numbers import finite
from silmm.benchmarks.judges.sources import Source
from silmm.benchmarks.judges.weights import (
    first_id,
    load_model,
    load_part,
    load_tokenizer,
    most_probable,
    no_token,
    only_id,
)
from silmm.errors import InputError
from silmm.probability import mass
from silmm.typed_json import loads, short

QUESTIONS = 16  # rows of a pass: fixed, so that results do not depend on how many there are to come
ANSWER = 32  # tokens of an answer
# A chat model says "Yes, there is a car." where benchmarks compare with "yes", which VQA models say.
BRIEFLY = " Answer with one word or a short phrase, in lower case, without a full stop."


class QwenVL(NamedTuple):
    """An `Answerer`."""

    card: Card
    model: Any  # Qwen2_5_VLForConditionalGeneration or Qwen3VLForConditionalGeneration
    tokenizer: Any
    processor: Any
    template: str
    stops: frozenset[int]  # ids that end an answer

    @torch.inference_mode()
    def answer(self, pictures: Sequence[np.ndarray], asked: Sequence[Sequence[Query]]) -> list[list[Answer]]:
        """Answers [picture][question]. Raises InputError for a choice that no token stands for, and for a question
        that holds the template's own token for a picture."""
        return [self._answer(picture, queries) for picture, queries in zip(pictures, asked, strict=True)]

    def _answer(self, picture: np.ndarray, queries: Sequence[Query]) -> list[Answer]:
        if not queries:
            return []
        rows = [self._ids(query.text + BRIEFLY * query.free) for query in queries]
        start = rows[0].index(self.model.config.image_token_id)
        prefix = Prefix.read(self.model, self.processor, picture, rows[0][:start])
        answers: list[Answer] = []
        for first in range(0, len(rows), QUESTIONS):
            block = queries[first : first + QUESTIONS]
            continued = Continued(self.model, prefix, [row[start + 1 :] for row in rows[first : first + QUESTIONS]])
            finite(self.card, continued.logits_QV)
            probs_QV = continued.logits_QV.float().softmax(-1).cpu()
            texts = [text.rstrip(".").lower() for text in self._write(continued, [query.free for query in block])]
            for query, probs_V, text in zip(block, probs_QV, texts, strict=True):
                probs = tuple(float(mass(probs_V, self._variants(choice, query.whole))) for choice in query.choices)
                answers.append(Answer(probs, text if query.free else most_probable(query.choices, probs)))
        return answers

    def _ids(self, question: str) -> list[int]:
        """The whole conversation, with one token for the picture."""
        content = [{"type": "image"}, {"type": "text", "text": question}]
        ids = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], chat_template=self.template, add_generation_prompt=True,
            tokenize=True, return_dict=False,
        )  # fmt: skip
        if ids.count(self.model.config.image_token_id) != 1:
            raise InputError(f"question {short(question)}: it, or the chat template, holds tokens that mean a picture")
        return list(ids)

    def _variants(self, choice: str, whole: bool = False) -> list[int]:
        forms = [form for word in (choice, choice.capitalize()) for form in (word, f" {word}")]
        if whole:
            ids = {number for form in forms if (number := only_id(self.tokenizer, form)) is not None}
            if not ids:
                raise no_token(choice)
            return sorted(ids)
        return sorted({first_id(self.tokenizer, form) for form in forms}) if choice else [first_id(self.tokenizer, "")]

    def _write(self, continued: Continued, free: Sequence[bool]) -> list[str]:
        """Answers, greedily; empty where none is wanted."""
        if not any(free):
            return [""] * len(free)
        written: list[list[int]] = [[] for _ in free]
        open_rows = {i for i, wanted in enumerate(free) if wanted}
        for _ in range(ANSWER):
            chosen = continued.logits_QV.argmax(-1).tolist()
            open_rows = {i for i in open_rows if chosen[i] not in self.stops}
            for i in open_rows:
                written[i].append(chosen[i])
            if not open_rows:
                break
            continued.step(chosen)
            finite(self.card, continued.logits_QV)
        return [self.tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in written]


class Prefix(NamedTuple):
    """The start of a conversation with its picture, read once."""

    cache: Any  # keys and values `[1, heads, P, width]` of each layer
    length: int  # P, tokens
    place: int  # of the next token: a picture takes fewer places than tokens

    @classmethod
    def read(cls, model: Any, processor: Any, picture: np.ndarray, before: Sequence[int]) -> Prefix:
        """Read the ids before a picture, and the picture."""
        from transformers.cache_utils import DynamicCache

        seen = processor(images=[picture], return_tensors="pt", input_data_format="channels_last").to(model.device)
        count = int(seen.image_grid_thw.prod()) // processor.merge_size**2
        ids_1P = torch.tensor([[*before, *[model.config.image_token_id] * count]], device=model.device)
        kinds_1P = (ids_1P == model.config.image_token_id).int()
        grid = {"image_grid_thw": seen.image_grid_thw, "mm_token_type_ids": kinds_1P}
        places_31P, ahead_11 = model.model.get_rope_index(ids_1P, **grid)
        cache = DynamicCache()
        model.model(
            input_ids=ids_1P, pixel_values=seen.pixel_values, **grid, position_ids=places_31P, past_key_values=cache,
            use_cache=True,
        )  # fmt: skip
        return cls(cache, ids_1P.shape[1], ids_1P.shape[1] + int(ahead_11))


class Continued:
    """Several questions behind one prefix, and what each of them goes on with: `logits_QV`."""

    def __init__(self, model: Any, prefix: Prefix, rows: Sequence[Sequence[int]]) -> None:
        from transformers.cache_utils import DynamicCache

        self.model, self.cache = model, DynamicCache()
        for number, layer in enumerate(prefix.cache.layers):
            keys, values = (part.expand(len(rows), -1, -1, -1) for part in (layer.keys, layer.values))
            self.cache.update(keys, values, number)
        lengths_Q = torch.tensor([len(row) for row in rows], device=model.device)
        longest = int(lengths_Q.max())
        # Padding comes last: no token of a question sees it, and `mask` hides it from those of the answer.
        ids_QT = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=model.device)
        real_QT = torch.arange(longest, device=model.device) < lengths_Q[:, None]
        self.mask_QS = torch.cat([real_QT.new_ones(len(rows), prefix.length), real_QT], 1)
        self.next_Q = prefix.place + lengths_Q
        places_QT = prefix.place + torch.arange(longest, device=model.device).expand(len(rows), -1)
        self._read(ids_QT, places_QT, lengths_Q - 1)

    def step(self, chosen: Sequence[int]) -> None:
        """Read one token more in each row."""
        ids_Q1 = torch.tensor(chosen, device=self.model.device)[:, None]
        self.mask_QS = torch.cat([self.mask_QS, self.mask_QS.new_ones(len(chosen), 1)], 1)
        self._read(ids_Q1, self.next_Q[:, None], torch.zeros_like(self.next_Q))
        self.next_Q = self.next_Q + 1

    def _read(self, ids_QT: Tensor, places_QT: Tensor, last_Q: Tensor) -> None:
        decoder = self.model.model.language_model
        states_QTD = decoder(
            inputs_embeds=decoder.embed_tokens(ids_QT), position_ids=places_QT.expand(3, -1, -1),
            attention_mask=self.mask_QS, past_key_values=self.cache, use_cache=True,
        ).last_hidden_state  # fmt: skip
        rows_Q = torch.arange(len(last_Q), device=last_Q.device)
        self.logits_QV = self.model.lm_head(states_QTD[rows_Q, last_Q])


def load(source: Source, device: torch.device) -> QwenVL:
    """Qwen-VL from a folder in transformers' layout. Raises InputError where that is not whole."""
    import transformers
    from transformers import Qwen2VLImageProcessorPil

    model_type = loads((source.folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    classes = {"qwen2_5_vl": "Qwen2_5_VLForConditionalGeneration", "qwen3_vl": "Qwen3VLForConditionalGeneration"}
    model = load_model(getattr(transformers, classes[model_type]), source.folder, device)
    tokenizer = load_tokenizer(source.folder, model.config.text_config.vocab_size)
    processor = load_part(Qwen2VLImageProcessorPil, source.folder)
    size = f"{processor.size['shortest_edge']} to {processor.size['longest_edge']} pixels"
    ends = model.generation_config.eos_token_id
    named = [ends] if isinstance(ends, int) else list(ends or [])
    stops = frozenset([*named, tokenizer.eos_token_id]) - {None}
    card = Card("vqa", model_type.replace("2_5", "2.5").replace("_", "-"), source.name, source.revision, size)
    return QwenVL(card, model, tokenizer, processor, _template(source.folder, tokenizer), stops)


def _template(folder: Path, tokenizer: Any) -> str:
    """The chat template. Raises InputError where there is none. transformers renders it in Jinja's sandbox."""
    file = folder / "chat_template.json"
    template = tokenizer.chat_template
    if file.is_file() and not template:
        found = loads(file.read_text(encoding="utf-8"))
        template = found.get("chat_template") if isinstance(found, dict) else None
    if not isinstance(template, str):
        raise InputError(f"{folder}: no chat template (chat_template.jinja or .json): download it again, all of it")
    return template
