"""Drawing and answering with transformers alone, as its documentation shows it, by the same weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from silmm.lmm.emu3 import layout as emu3_layout
from silmm.lmm.emu3.lmm import Emu3LMM
from silmm.lmm.interface import Sampling
from silmm.lmm.janus import layout as janus_layout
from silmm.lmm.janus.lmm import JanusLMM


def draw(lmm: JanusLMM | Emu3LMM, prompts: Sequence[str], samples: int, sampling: Sampling) -> Tensor:
    """Ids `[P * N, ..]` that `generate` makes, of all prompts in one batch."""
    return (_draw_janus if isinstance(lmm, JanusLMM) else _draw_emu3)(lmm, prompts, samples, sampling)


@torch.no_grad()
def probabilities(lmm: JanusLMM | Emu3LMM, image: np.ndarray, question: str) -> Tensor:
    """Next-token probabilities `[V]` after one question about one picture: a forward pass of its own."""
    picture = Image.fromarray(image)
    if isinstance(lmm, JanusLMM):
        processor, model = lmm.weights.processor, lmm.weights.model
        text = janus_layout.conversation(processor, question, image=True)  # the processor adds its system prompt
    else:
        processor, model = lmm.chat.processor, lmm.chat.model
        text = emu3_layout.conversation(processor, question, image=True)
    inputs = processor(images=[picture], text=[text], return_tensors="pt").to(model.device, model.dtype)
    return model(**inputs, logits_to_keep=1).logits[0, -1].float().softmax(-1)


def _draw_janus(lmm: JanusLMM, prompts: Sequence[str], samples: int, sampling: Sampling) -> Tensor:
    processor, model = lmm.weights.processor, lmm.weights.model
    texts = [janus_layout.conversation(processor, prompt) for prompt in prompts]
    inputs = processor(text=texts, generation_mode="image", padding=True, padding_side="left", return_tensors="pt")
    return model.generate(
        **inputs.to(model.device), generation_mode="image", guidance_scale=sampling.guidance,
        num_return_sequences=samples, **_chosen(sampling),
    )  # fmt: skip


def _draw_emu3(lmm: Emu3LMM, prompts: Sequence[str], samples: int, sampling: Sampling) -> Tensor:
    processor, model, width = lmm.gen.processor, lmm.gen.model, lmm.side // lmm.gen.factor
    header: dict[str, Any] = {"return_for_image_generation": True, "ratio": "1:1", "image_area": lmm.side**2}
    texts = [emu3_layout.caption(processor, prompt) for prompt in prompts]
    given = processor(text=texts, padding=True, return_tensors="pt", **header).to(model.device)
    negatives = [emu3_layout.NEGATIVE] * (len(prompts) * samples)
    negative = processor(text=negatives, return_tensors="pt", **header).to(model.device)
    tokenizer, visual = processor.tokenizer, model.vocabulary_mapping.image_tokens
    start, length = given.input_ids.shape[1], width * (width + 1)
    ends = [tokenizer.eof_token_id, tokenizer.eoi_token_id, tokenizer.eos_token_id]

    def allowed(_: int, ids: Tensor) -> Sequence[int]:
        place = len(ids) - start
        if place >= length:
            return [ends[place - length]]
        return [lmm.gen.end_of_line] if place % (width + 1) == width else visual

    out = model.generate(
        input_ids=given.input_ids, attention_mask=given.attention_mask, max_new_tokens=length + len(ends),
        num_return_sequences=samples, prefix_allowed_tokens_fn=allowed, guidance_scale=sampling.guidance,
        negative_prompt_ids=negative.input_ids, negative_prompt_attention_mask=negative.attention_mask,
        **_chosen(sampling),
    )  # fmt: skip
    return out[:, start:]


def _chosen(sampling: Sampling) -> dict[str, Any]:
    """How `generate` is told to sample; the likeliest token where `top_k` is 1."""
    if sampling.top_k == 1:
        return {"do_sample": False}
    return {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
