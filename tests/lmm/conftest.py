"""A tiny random discrete LMM, built in a second: enough for every check that is not about quality."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from silmm.lmm.shapeworld import data
from silmm.lmm.shapeworld import pretrain as training
from silmm.lmm.shapeworld import pretrain_continuous as painting
from silmm.lmm.shapeworld import vocab as vocabulary
from silmm.lmm.shapeworld.continuous import ContinuousLMM
from silmm.lmm.shapeworld.lmm import DiscreteLMM
from silmm.lmm.shapeworld.model import new_model
from silmm.settings import Pretrain


def build(seed: int = 0) -> DiscreteLMM:
    """Random transformer, trained tokenizer."""
    pool = data.spec_pool(seed, 64)
    tokenizer, _ = training.train_tokenizer(seed, pool, codes=224, steps=60)
    vocab = vocabulary.build(224)
    torch.manual_seed(seed)
    model = new_model(vocab, width=32, layers=2, heads=2)
    with torch.no_grad():  # random weights are nearly uniform: sharpen them, so that wrong arithmetic shows
        for p in model.parameters():
            if p.ndim == 2:
                p.mul_(4)
    return DiscreteLMM(model.eval(), tokenizer, vocab)


def build_painter() -> ContinuousLMM:
    """The same behind new queries and a new decoder."""
    lmm = painting.new_painter(build(), Pretrain(queries=4, blocks=1, heads=2), data.spec_pool(0, 64), 0)
    with torch.no_grad():
        lmm.queries.embedding.mul_(30)  # as above
    for module in painting.modules(lmm):
        module.eval()
    return lmm


@pytest.fixture(scope="session")
def lmm() -> DiscreteLMM:
    torch.set_num_threads(1)
    return build()


@pytest.fixture
def codes(lmm: DiscreteLMM) -> np.ndarray:
    return np.random.default_rng(0).integers(0, lmm.vocab.n_visual, (5, lmm.length))
