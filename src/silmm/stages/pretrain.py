"""The base: a tiny LMM trained on ShapeWorld from scratch, or copied from a shipped checkpoint made the same way."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from silmm import rng as keyed
from silmm.align import state as states
from silmm.errors import InputError
from silmm.lmm.shapeworld import data
from silmm.lmm.shapeworld import pretrain as training
from silmm.lmm.shapeworld import vocab as vocabulary
from silmm.lmm.shapeworld.lmm import DiscreteLMM
from silmm.lmm.shapeworld.model import new_model
from silmm.records import atomic_dir
from silmm.settings import Pretrain
from silmm.stages.runtime import prepare

SAVE_EVERY = 100  # steps
NOTE = "pretrain.json"  # beside the weights: what made them


def run(
    settings: Pretrain, *, lmm: str, seed: int, out: Path, state: Path, shipped: Path | None = None, threads: int = 1
) -> None:
    """Train (resuming from `state` after an interruption), or copy `shipped` if it was made with these settings."""
    if lmm != "discrete":
        raise InputError(f"lmm is {lmm!r}: expected discrete")
    note = {"lmm": lmm, "seed": seed, "threads": threads, "settings": dataclasses.asdict(settings)}
    if shipped is not None:
        _copy(shipped, note, out)
        return
    prepare(threads)
    pool = data.spec_pool(seed, training.POOL)
    print("pretrain: visual tokenizer", file=sys.stderr)
    tokenizer, error = training.train_tokenizer(seed, pool, codes=settings.codes, steps=settings.vq_steps)
    vocab = vocabulary.build(settings.codes)
    torch.manual_seed(keyed.torch_seed(seed, "pretrain", "weights"))
    model = new_model(vocab, width=settings.width, layers=settings.layers, heads=settings.heads)
    log = _train(settings, model, tokenizer, vocab, pool, seed, state, states.fingerprint(note, []))
    with atomic_dir(out) as folder:
        DiscreteLMM(model.eval(), tokenizer, vocab).save(folder)
        (folder / "training.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log), encoding="utf-8")
        _write_note(folder, {**note, "vq_error": round(error, 6)})
    states.clear(state)


def _train(settings, model, tokenizer, vocab, pool, seed, state, mark) -> list[dict[str, float]]:  # type: ignore[no-untyped-def]
    optimizers = training.optimizers(model, settings.lr)
    found = states.load(state, mark)
    start, log = 0, []
    if found is not None:
        start, saved = found
        model.load_state_dict(saved["model"])
        for optimizer, kept in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        log = saved["log"]
    steps = training.train(
        model, tokenizer, vocab, pool, optimizers,
        seed=seed, start=start, steps=settings.steps, lr=settings.lr, corrupt=settings.corrupt,
    )  # fmt: skip
    for step, losses in tqdm(steps, total=settings.steps, initial=start, desc="pretrain", mininterval=5):
        log.append({"step": step, **losses})
        if (step + 1) % SAVE_EVERY == 0 and step + 1 < settings.steps:
            kept = [o.state_dict() for o in optimizers]
            states.save(state, mark, step + 1, {"model": model.state_dict(), "optimizers": kept, "log": log})
    return log


def _write_note(folder: Path, note: dict) -> None:
    digest = states.fingerprint({}, [folder / "model.safetensors", folder / "visual_tokenizer.safetensors"])
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
    digest = states.fingerprint({}, [shipped / "model.safetensors", shipped / "visual_tokenizer.safetensors"])
    if made.get("weights_blake2b") != digest:
        raise InputError(f"{shipped}: the weights are not those that {NOTE} names: make pretrain makes them again")
    with atomic_dir(out) as folder:
        for path in sorted(shipped.iterdir()):
            shutil.copyfile(path, folder / path.name)
    print(f"pretrain: copied {shipped}", file=sys.stderr)
