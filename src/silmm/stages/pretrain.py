"""The base: a tiny LMM trained on ShapeWorld, or copied from a shipped checkpoint made the same way."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from silmm import lmm as models
from silmm import rng as keyed
from silmm.align import state as states
from silmm.errors import InputError
from silmm.lmm.shapeworld import data
from silmm.lmm.shapeworld import pretrain as training
from silmm.lmm.shapeworld import pretrain_continuous as painting
from silmm.lmm.shapeworld import vocab as vocabulary
from silmm.lmm.shapeworld.canonical import canonical_scene
from silmm.lmm.shapeworld.continuous import ContinuousLMM
from silmm.lmm.shapeworld.lmm import DiscreteLMM
from silmm.lmm.shapeworld.model import new_model
from silmm.records import atomic_dir
from silmm.settings import Pretrain
from silmm.shapeworld.language import Spec
from silmm.sources import source_hash
from silmm.stages.runtime import prepare

SAVE_EVERY = 100  # steps, or sooner by the clock
NOTE = "pretrain.json"  # beside the weights: what made them
CONTINUOUS = 10**6  # number of the first batch of a continuous LMM: none that its discrete base saw comes again


def run(
    settings: Pretrain,
    *,
    lmm: str,
    seed: int,
    out: Path,
    state: Path,
    shipped: Path | None = None,
    start: Path | None = None,
    threads: int = 1,
) -> None:
    """Train (resuming from `state` after an interruption), or copy `shipped` if it was made with these settings.

    The discrete LMM is trained from scratch, the continuous one from a discrete base (`start`).
    """
    note = {"lmm": lmm, "seed": seed, "threads": threads, "settings": dataclasses.asdict(settings)}
    if shipped is not None:
        _copy(shipped, note, out)
        return
    prepare(threads)
    pool = data.spec_pool(seed, training.POOL)
    mark = states.fingerprint({**note, "sources": source_hash("stages.pretrain", lmm)}, [start] if start else [])
    more: dict[str, object]
    policy: DiscreteLMM | ContinuousLMM
    if lmm == "continuous":
        policy, more = _new_continuous(settings, pool, seed, start)
        log = _train(painting.phases(settings), policy, pool, seed, state, mark)
    else:
        policy, more = _new_discrete(settings, pool, seed)
        log = _train(training.phases(settings), policy, pool, seed, state, mark)
    with atomic_dir(out, "silmm pretrain") as folder:
        policy.save(folder)
        (folder / "training.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log), encoding="utf-8")
        _write_note(folder, {**note, **more})
    states.clear(state)


def _new_discrete(settings: Pretrain, pool: list[Spec], seed: int) -> tuple[DiscreteLMM, dict[str, object]]:
    """Random weights behind a trained visual tokenizer; the tokenizer's error."""
    print("pretrain: visual tokenizer", file=sys.stderr)
    tokenizer, error = training.train_tokenizer(seed, pool, codes=settings.codes, steps=settings.vq_steps)
    vocab = vocabulary.build(settings.codes)
    torch.manual_seed(keyed.torch_seed(seed, "pretrain", "weights"))
    model = new_model(vocab, width=settings.width, layers=settings.layers, heads=settings.heads)
    return DiscreteLMM(model, tokenizer, vocab), {"vq_error": round(error, 6)}


def _new_continuous(
    settings: Pretrain, pool: list[Spec], seed: int, start: Path | None
) -> tuple[ContinuousLMM, dict[str, object]]:
    """A discrete base with new queries and a new decoder; the hash of the base's weights."""
    if start is None:
        raise InputError("--start is missing: a continuous LMM is trained from a discrete base")
    base = models.load(start)
    if not isinstance(base, DiscreteLMM):
        raise InputError(f"{start}: not a discrete ShapeWorld LMM (--start)")
    return painting.new_painter(base, settings, pool, seed), {"start_blake2b": _weights(start)}


def _train(
    phases: list[training.Phase],
    policy: DiscreteLMM | ContinuousLMM,
    pool: list[Spec],
    seed: int,
    state: Path,
    mark: str,
) -> list[dict[str, float]]:
    """All phases, from the step that the state folder holds; returns the losses of every step."""
    found = states.load(state, mark)
    done, saved = found if found is not None else (0, None)
    log: list[dict[str, float]] = []
    parts: list[torch.nn.Module]
    parts = painting.modules(policy) if isinstance(policy, ContinuousLMM) else [policy.model]
    if saved is not None:
        for part, kept in zip(parts, saved["weights"], strict=True):
            part.load_state_dict(kept)
        log = saved["log"]
    total, first = sum(phase.steps for phase in phases), 0
    saver = states.Saver(state, mark, SAVE_EVERY)
    for part in parts:
        part.train()
    with tqdm(total=total, initial=done, desc="pretrain", mininterval=5) as bar:
        for phase in phases:
            optimizers = _optimizers(policy, phase)
            if isinstance(policy, ContinuousLMM) and not phase.decoder and done <= first:
                painting.measure_range(policy, pool, seed)
            if saved is not None and first < done < first + phase.steps:
                for optimizer, kept in zip(optimizers, saved["optimizers"], strict=True):
                    optimizer.load_state_dict(kept)
            for step in range(max(first, done), first + phase.steps):
                log.append({"step": step, **_step(policy, phase, step - first, step, pool, seed, optimizers)})
                bar.update()
                if step + 1 < total and saver.due():
                    weights, kept = [part.state_dict() for part in parts], [o.state_dict() for o in optimizers]
                    saver.save(step + 1, {"weights": weights, "optimizers": kept, "log": log})
            first += phase.steps
    for part in parts:
        part.eval()
    return log


def _optimizers(policy: DiscreteLMM | ContinuousLMM, phase: training.Phase) -> list[torch.optim.Optimizer]:
    if isinstance(policy, ContinuousLMM):
        return painting.optimizers(policy, phase.lr, decoder=phase.decoder)
    return training.optimizers(policy.model, phase.lr)


def _step(
    policy: DiscreteLMM | ContinuousLMM, phase: training.Phase, place: int, step: int, pool: list[Spec], seed: int,
    optimizers: list[torch.optim.Optimizer],
) -> dict[str, float]:  # fmt: skip
    """One step, a pure function of weights, optimiser state, seed and step."""
    noise = phase.noise if place < training.FLAT * phase.steps else phase.noise_late
    lr = phase.lr * training.learning_rate(place, phase.steps)
    if isinstance(policy, ContinuousLMM):
        batch = data.make_batch(seed, CONTINUOUS + step, policy.vocab, pool, phase.mix, noise, canonical_scene)
        generator = torch.Generator().manual_seed(keyed.torch_seed(seed, "pretrain", "flow", step))
        return painting.train_step(policy, batch, optimizers, lr, generator)
    batch = data.make_batch(seed, step, policy.vocab, pool, phase.mix, noise)
    return training.train_step(policy.model, policy.tokenizer, policy.vocab, batch, optimizers, lr)


def _weights(folder: Path) -> str:
    return states.fingerprint({}, sorted(folder.glob("*.safetensors")))


def _write_note(folder: Path, note: dict) -> None:
    digest = _weights(folder)
    text = json.dumps({**note, "weights_blake2b": digest}, indent=1, sort_keys=True)
    (folder / NOTE).write_text(text + "\n", encoding="utf-8")


def _copy(shipped: Path, note: dict, out: Path) -> None:
    """Copy a shipped base. Raises InputError when its settings or its weights are not what its note says."""
    file = shipped / NOTE
    try:
        made = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{file}: no such file: {shipped} is no shipped base") from None
    except ValueError as error:
        raise InputError(f"{file}: not JSON ({error})") from None
    differs = [k for k in note if made.get(k) != note[k] and k != "threads"]
    if differs:
        raise InputError(f"{file}: made with another {', '.join(differs)}: remove it from `shipped` to train anew")
    digest = _weights(shipped)
    if made.get("weights_blake2b") != digest:
        raise InputError(f"{shipped}: the weights are not those that {NOTE} names: make pretrain makes them again")
    with atomic_dir(out, "silmm pretrain") as folder:
        for path in sorted(shipped.iterdir()):
            shutil.copyfile(path, folder / path.name)
    print(f"pretrain: copied {shipped}", file=sys.stderr)
