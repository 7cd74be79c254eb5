"""BLIP answers questions (Li et al., arXiv 2201.12086): the judge of T2I-CompBench's attributes.

As the official evaluator has it (Karine-Huang/T2I-CompBench: BLIPvqa_eval/models/blip_vqa.py and data/utils.py):
pictures at 480 x 480, squeezed; questions in lower case without most punctuation; `[ENC]` in the place of `[CLS]`; the
probabilities of the answer's first token. transformers' own processor differs in all of that: 384 x 384, every sign,
`[CLS]`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
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

SIDE = 480  # pixels; weights on the hub have places for 384, which are interpolated as BLIP's own loader does it
PICTURES, QUESTIONS = 8, 16  # rows of a pass: fixed, so that results do not depend on how many there are to come
WORDS, TOKENS, ANSWER = 50, 35, 10  # words and tokens of a question that are read, tokens of an answer


class BlipVQA(NamedTuple):
    """An `Answerer`."""

    card: Card
    model: Any  # BlipForQuestionAnswering
    tokenizer: Any
    mean_C: Tensor
    std_C: Tensor

    @torch.inference_mode()
    def answer(self, pictures: Sequence[np.ndarray], asked: Sequence[Sequence[Query]]) -> list[list[Answer]]:
        """Answers [picture][question]. Raises InputError for a choice that no token stands for."""
        answers: list[list[Answer]] = []
        for start in range(0, len(pictures), PICTURES):
            feats_BLD = self._look(pictures[start : start + PICTURES])
            for feats_LD, queries in zip(feats_BLD, asked[start : start + PICTURES], strict=True):
                answers.append(self._answer(feats_LD[None], queries))
        return answers

    def _look(self, pictures: Sequence[np.ndarray]) -> Tensor:
        """The vision tower's features `[B, L, D]`."""
        pixels_BCHW = torch.stack([self._pixels(picture) for picture in pictures])
        tower = self.model.vision_model
        pixels_BCHW = pixels_BCHW.to(tower.device, tower.dtype)
        return tower(pixel_values=pixels_BCHW, interpolate_pos_encoding=True).last_hidden_state

    def _pixels(self, picture_HWC: np.ndarray) -> Tensor:
        resized = Image.fromarray(picture_HWC).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        pixels_HWC = torch.from_numpy(np.array(resized)).float() / 255
        return ((pixels_HWC - self.mean_C) / self.std_C).permute(2, 0, 1)

    def _answer(self, feats_1LD: Tensor, queries: Sequence[Query]) -> list[Answer]:
        """Answers to the questions about one picture, whose keys and values all of them share."""
        seen = _cross_cache(self.model.text_encoder, feats_1LD)
        rows = [self._ids(query.text) for query in queries]
        answers: dict[int, Answer] = {}
        for block in _blocks([len(row) for row in rows]):
            states_QTD = self._read([rows[i] for i in block], feats_1LD, seen)
            probs_QV = self._next(states_QTD)
            free = [k for k, i in enumerate(block) if queries[i].free]
            written = iter(self._write(states_QTD[free]))
            for i, probs_V in zip(block, probs_QV, strict=True):
                choices = queries[i].choices
                probs = tuple(float(probs_V[self._choice(choice, queries[i].whole)]) for choice in choices)
                answers[i] = Answer(probs, next(written) if queries[i].free else most_probable(choices, probs))
        return [answers[i] for i in range(len(queries))]

    def _ids(self, question: str) -> list[int]:
        ids = self.tokenizer(plain(question), truncation=True, max_length=TOKENS).input_ids
        return [self.model.decoder_start_token_id + 1, *ids[1:]]  # [ENC], which stands behind [DEC]

    def _choice(self, choice: str, whole: bool) -> int:
        found = only_id(self.tokenizer, choice) if whole else first_id(self.tokenizer, choice)
        if found is None:
            raise no_token(choice)
        return found

    def _read(self, rows: Sequence[list[int]], feats_1LD: Tensor, seen: Any) -> Tensor:
        """States of questions of one length after looking at the picture `[Q, T, D]`."""
        from transformers.cache_utils import DynamicCache, EncoderDecoderCache

        return self.model.text_encoder(
            input_ids=torch.tensor(rows, device=feats_1LD.device), encoder_hidden_states=feats_1LD,
            past_key_values=EncoderDecoderCache(DynamicCache(), seen),
        ).last_hidden_state  # fmt: skip

    def _next(self, states_QTD: Tensor) -> Tensor:
        """Probabilities of the answer's first token `[Q, V]`, on the CPU."""
        start_Q1 = self._start(states_QTD)
        logits_QV = self.model.text_decoder(
            input_ids=start_Q1, encoder_hidden_states=states_QTD, use_cache=False
        ).logits[:, 0]
        finite(self.card, logits_QV)
        return logits_QV.float().softmax(-1).cpu()

    def _write(self, states_QTD: Tensor) -> list[str]:
        """Answers, greedily."""
        if not len(states_QTD):
            return []
        config = self.model.config.text_config
        written = self.model.text_decoder.generate(
            input_ids=self._start(states_QTD), encoder_hidden_states=states_QTD, eos_token_id=config.sep_token_id,
            pad_token_id=config.pad_token_id, max_length=ANSWER, do_sample=False, num_beams=1, output_logits=True,
            return_dict_in_generate=True,
        )  # fmt: skip
        finite(self.card, *written.logits)
        ids_QT = written.sequences[:, 1:]
        return [text.strip() for text in self.tokenizer.batch_decode(ids_QT, skip_special_tokens=True)]

    def _start(self, states_QTD: Tensor) -> Tensor:
        """What an answer starts with, `[Q, 1]`."""
        start = self.model.decoder_start_token_id  # [DEC]
        return torch.full((len(states_QTD), 1), start, device=states_QTD.device)


def _blocks(lengths: Sequence[int]) -> list[list[int]]:
    """Numbers of questions by blocks of one length: transformers (5.23) drops the mask of padded questions on the way
    to the decoder, which would read the padding, and answers would depend on what else is asked."""
    alike: dict[int, list[int]] = {}
    for i, length in enumerate(lengths):
        alike.setdefault(length, []).append(i)
    return [same[k : k + QUESTIONS] for same in alike.values() for k in range(0, len(same), QUESTIONS)]


def plain(question: str) -> str:
    """A question as BLIP was trained to read it (pre_question in salesforce/BLIP@3a29b74: data/utils.py)."""
    words = re.sub(r"[.!\"()*#:;~]", "", question.lower()).rstrip(" ").split(" ")
    return " ".join(words[:WORDS])


def _cross_cache(encoder: Any, feats_1LD: Tensor) -> Any:
    """Every layer's keys and values of the picture: without them, each question would compute them anew."""
    from transformers.cache_utils import DynamicCache

    cache = DynamicCache()
    for number, layer in enumerate(encoder.encoder.layer):
        attention = layer.crossattention.self
        shape = (*feats_1LD.shape[:2], -1, attention.attention_head_size)
        keys, values = (part(feats_1LD).view(shape).transpose(1, 2) for part in (attention.key, attention.value))
        cache.update(keys, values, number)
    return cache


def load(source: Source, device: torch.device) -> BlipVQA:
    """BLIP from a folder in transformers' layout. Raises InputError where that is not whole."""
    from transformers import BlipForQuestionAnswering, BlipImageProcessorPil

    model = load_model(BlipForQuestionAnswering, source.folder, device)
    _check_heads(source, model.config.text_config)
    tokenizer = load_tokenizer(source.folder, model.config.text_config.vocab_size)
    processor = load_part(BlipImageProcessorPil, source.folder)
    card = Card("vqa", "blip-vqa", source.name, source.revision, f"{SIDE}x{SIDE}")
    return BlipVQA(card, model, tokenizer, torch.tensor(processor.image_mean), torch.tensor(processor.image_std))


def _check_heads(source: Source, config: Any) -> None:
    """InputError for what transformers assumes where config.json is silent, as early conversions were (LAVIS issue
    106): 8 heads. The weights fit, but mean something else."""
    if config.hidden_size == 768 and config.num_attention_heads != 12:
        raise InputError(
            f"{source.name}: config.json: text_config.num_attention_heads is {config.num_attention_heads}: BLIP has 12"
            " heads at this width: write 12 there, or take a later revision"
        )
