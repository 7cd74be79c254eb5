"""Make `trl_golden.json`: what TRL's own DPO trainer computes for stored log-probs.

Run once, with TRL installed (1.16.0 was): `python tests/align/make_trl_golden.py`. The tests then need no TRL, whose
import takes ten seconds. It calls the unmodified `DPOTrainer._compute_loss` in float64; only the model (which hands
out stored log-probs) and the accelerator (one process) are stand-ins.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import trl
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.utils import selective_log_softmax

PAIRS, TOKENS, CASES = 6, 5, ((0.2, 0.0), (0.2, 10.0), (0.05, 1.0), (1.0, 0.5))


def trl_loss(inputs: dict[str, Any], beta: float, sft_weight: float) -> dict[str, float]:
    """Loss and metrics of TRL's `loss_type=["sigmoid", "sft"]`, `loss_weights=[1, sft_weight]`."""
    logps = torch.cat([inputs["chosen"], inputs["rejected"]])
    mask = torch.cat([inputs["chosen_mask"], inputs["rejected_mask"]])
    zeros = torch.zeros_like(logps)

    def model(**_: Any) -> SimpleNamespace:
        # TRL's fused head gives 0 where the label is -100, so its sum over the row is the completion's log-prob.
        return SimpleNamespace(log_probs=logps * mask, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool())

    model.training = True  # type: ignore[attr-defined]
    alone = SimpleNamespace(device="cpu", gather=lambda x: x, gather_for_metrics=lambda x: x)
    metrics: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    trainer = SimpleNamespace(
        **{"model": model, "accelerator": alone, "beta": beta, "label_smoothing": 0.0, "_metrics": metrics},
        **{"loss_types": ["sigmoid", "sft"], "loss_weights": [1.0, sft_weight], "f_divergence_type": "reverse_kl"},
        **{"precompute_ref_logps": True, "use_weighting": False, "ld_alpha": None, "aux_loss_enabled": False},
        **{"_total_train_tokens": 0, "_tp_size": 1},
    )
    full = torch.cat([torch.zeros(2 * PAIRS, 1), mask], 1)  # position 0 is the prompt: TRL shifts it away
    batch = {
        "input_ids": torch.zeros_like(full, dtype=torch.long),
        "attention_mask": torch.ones_like(full),
        "completion_mask": full.long(),
        "ref_chosen_logps": inputs["ref_chosen"],
        "ref_rejected_logps": inputs["ref_rejected"],
    }
    loss = DPOTrainer._compute_loss(trainer, model, batch, return_outputs=False)
    logged = {name: values[0] for name, values in metrics["train"].items() if name.startswith(("rewards/", "logps/"))}
    return {"loss": loss.item(), **logged}


def main() -> None:
    g = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    mask = torch.ones(PAIRS, TOKENS, dtype=torch.float64)
    mask[:, -1] = 0  # equal lengths, with padding: where TRL's pooled anchor and ours are the same number
    inputs = {
        "chosen": -draw(PAIRS, TOKENS).abs(),
        "rejected": -draw(PAIRS, TOKENS).abs() - 0.3,
        "chosen_mask": mask,
        "rejected_mask": mask.clone(),
        "ref_chosen": -4 + draw(PAIRS),
        "ref_rejected": -5 + draw(PAIRS),
    }
    logits, ids = draw(2, 3, 7), torch.randint(7, (2, 3), generator=g)
    golden = {
        "trl": trl.__version__,
        "inputs": {name: value.tolist() for name, value in inputs.items()},
        "cases": [{"beta": b, "sft_weight": w, "expected": trl_loss(inputs, b, w)} for b, w in CASES],
        "selective": {
            "logits": logits.tolist(),
            "ids": ids.tolist(),
            "expected": selective_log_softmax(logits, ids).tolist(),
        },
    }
    Path(__file__).with_name("trl_golden.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
