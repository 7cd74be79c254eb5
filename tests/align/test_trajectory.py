"""Thirty steps of alignment on a tiny LMM against a stored run: a change of the mathematics cannot pass unseen.

`python tests/align/test_trajectory.py` writes the stored run anew; do so only when a change is meant, and say why.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from silmm.align import objectives, trainer
from silmm.lmm.shapeworld import vocab as vocabulary
from silmm.lmm.shapeworld.lmm import DiscreteLMM
from silmm.lmm.shapeworld.model import new_model
from silmm.lmm.shapeworld.vq import VQTokenizer
from silmm.settings import Align

STORED = Path(__file__).parent / "trajectory.json"
WATCHED = ("loss", "dpo_loss", "nll_loss", "rewards/margins", "text_loss", "grad_norm")
SETTINGS = Align(batch=8, epochs=5, lr=2e-3, sft_weight=2.0, text_weight=0.1)
PROMPTS = [
    "a red circle and a blue square",
    "two red squares and one blue circle",
    "a striped circle with a solid square",
]


def trajectory() -> list[dict[str, float]]:
    """Metrics of 30 steps over 48 pairs of random pictures; the chosen ones hold more of the low codes."""
    torch.set_num_threads(1)
    torch.manual_seed(7)
    vocab = vocabulary.build(64)
    lmm = DiscreteLMM(new_model(vocab, width=32, layers=2, heads=2), VQTokenizer(64), vocab)
    rng = np.random.default_rng(7)
    chosen, rejected = rng.integers(0, 48, (48, lmm.length)), rng.integers(16, 64, (48, lmm.length))
    prompts = [PROMPTS[i % 3] for i in range(48)]
    texts = trainer.own_texts(
        [("color", PROMPTS[0])], [(PROMPTS[0], "is there a red circle ? are there two objects ?")]
    )
    data = objectives.Preferences(prompts, chosen, rejected, texts)
    log: list[dict[str, float]] = []
    trainer.train(
        lmm, data, objectives.reference_logps(lmm, data), SETTINGS, key=(7, "trajectory"),
        optimizer=trainer.new_optimizer(lmm, SETTINGS), after_step=lambda step, metrics: log.append(metrics),
    )  # fmt: skip
    return [{name: row[name] for name in WATCHED} for row in log]


def test_thirty_steps_follow_the_stored_run() -> None:
    stored, found = json.loads(STORED.read_text()), trajectory()
    assert len(stored) == len(found) == 30
    for step, (before, now) in enumerate(zip(stored, found, strict=True)):
        # Rounding differs between processors and grows with the steps.
        assert now == pytest.approx(before, rel=2e-3 * (1 + step / 5), abs=2e-3), f"step {step}"
    assert stored[-1]["dpo_loss"] < 0.5 * stored[0]["dpo_loss"]


if __name__ == "__main__":
    STORED.write_text(json.dumps(trajectory(), indent=1) + "\n")
