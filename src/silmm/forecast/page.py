"""`silmm plan`: what a config will take, printed before anything runs."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from silmm.arms import ADOPTED, Plan, plans
from silmm.errors import InputError
from silmm.forecast import decoder, lengths
from silmm.forecast.configs import read
from silmm.forecast.fit import RESERVE, advice
from silmm.forecast.memory import COLUMNS, Phase, stages
from silmm.forecast.rates import Rate, questions_of, rates
from silmm.forecast.work import LOOP, SHARDED, Work, work
from silmm.lmm.hf.parts import Holding, Part
from silmm.stages.adopt import options_of, weights_of

GIB, USUAL = 1 << 30, 80  # bytes; GiB of the device that is planned for where there is none


class Device(NamedTuple):
    """What a job may use, and of how many there are."""

    memory: int  # bytes
    name: str
    number: int


def run(configs: Sequence[Path], *, memory: float | None, devices: int, measured: Path | None) -> None:
    """Print the plan of configs, merged as Snakemake does, on top of config/default.yaml.

    Raises InputError where a config is wrong.
    """
    if measured is not None and not measured.is_dir():
        raise InputError(f"{measured}: no such folder (--measured): name a results folder")
    config = read(configs)
    results = Path((config.get("pathvars") or {}).get("results", "results"))
    device = _device(memory, devices)
    for lmm, plan in plans(config).items():
        lines = page(lmm, plan, measured or results, device)
        print("\n".join([f"{lmm}: {_runs(plan)}; results in {results}", *lines, ""]))


def page(lmm: str, plan: Plan, measured: Path, device: Device) -> Iterator[str]:
    """The lines of one LMM."""
    rate = rates(measured, lmm)
    asked = questions_of(measured, lmm)
    usual = lengths.usual() if asked is None else lengths.usual(max(1, round(asked)))
    known = "taken as usual" if asked is None else f"{asked:.1f} measured"
    made = work(plan, usual.questions)
    yield f"work (questions a prompt: {usual.questions}, {known})"
    yield from _work(made, plan.shards, rate, device)
    if lmm not in ADOPTED:
        yield "memory\n  a tiny LMM, trained here: any machine, no GPU"
        return
    settings = plan.settings
    folders = weights_of(settings["adopt"], lmm)
    family = importlib.import_module(f"silmm.lmm.{lmm}.shape")
    dtype_of = getattr(family, "dtype_of", lambda _, adopt: adopt.dtype)
    held = {role: family.holds(role, path, dtype_of(role, settings["adopt"])) for role, path in folders.items()}
    yield from _weights(folders, held, family.HUB, getattr(family, "ENOUGH", {}))
    if any(one.missing is not None and not one.parts for one in held.values()):
        yield "memory\n  unknown: it takes the configs of every folder of weights, or the weights"
        return
    yield from _memory(lmm, settings, folders, held, family, usual, device)
    shape = family.shape(folders, options_of(lmm, settings["adopt"]), settings["adopt"].dtype, settings["adopt"].rows)
    images = next(row.items for row in made if row.stage == "images")
    yield "disk"
    kept = images // settings["images"].noises * shape.kept
    yield f"  {_gb(kept)} of {'visual tokens' if shape.codes else 'features'}, beside {images:,} PNGs in ZIP archives"


def _runs(plan: Plan) -> str:
    unasked = [arm for arm in plan.arms.values() if arm.unasked]
    arms = ", ".join(f"{arm.name} ({arm.iterations if arm.train else 'no'} iterations)" for arm in unasked)
    return f"{arms}; {len(plan.seeds)} seed{'s' * (len(plan.seeds) > 1)}"


def _device(memory: float | None, count: int) -> Device:
    if memory is not None:
        return Device(round(memory * GIB), "as given", count)
    import torch

    if torch.cuda.is_available():
        found = torch.cuda.get_device_properties(0)
        return Device(int(found.total_memory), found.name, count)
    return Device(USUAL * GIB, "none is here; --memory says another size", count)


# ---- sections --------------------------------------------------------------------------------------------------------


def _work(made: Sequence[Work], shards: int, rate: Mapping[str, Rate], device: Device) -> Iterator[str]:
    total, complete = 0.0, True
    rows = []
    for stage, jobs, items, unit in made:
        row = [stage, f"{jobs:,} job{'s' * (jobs != 1)}", f"{items:,}", unit]
        if stage in rate:
            seconds = items / (rate[stage].items / rate[stage].seconds)
            at_once = min(device.number, shards if stage in SHARDED else 1)
            total += seconds / at_once
            row.append(f"{_time(seconds / at_once)} on {at_once}, from {rate[stage].jobs} measured")
        elif stage != "pairs":
            complete = False
            row.append("time unmeasured")
        rows.append(row)
    yield from _table(rows)
    if complete:
        yield f"  in all {_time(total)} with {device.number} at once"
    else:
        yield "  a time stands here once a job of each stage has run: try one shard, or name a run with --measured"


def _weights(
    folders: Mapping[str, Path], held: Mapping[str, Holding], hub: Mapping[str, str], enough: Mapping[str, str]
) -> Iterator[str]:
    """`enough`: what of a role's folder is enough to plan with, where that is not config.json."""
    yield "weights"
    for role, path in folders.items():
        one = held[role]
        size = sum(file.stat().st_size for file in one.files)
        state = (
            f"{len(one.files)} files, {_gb(size)}"
            if one.missing is None
            else f"not to be loaded: {one.missing.removeprefix(f'{path}: ')}"
        )
        yield f"  {role}: {path}: {state}"
        if one.missing is not None:
            known = enough.get(role, "its config.json alone is")
            yield f"    download {hub[role]}" + (f"; {known} enough to plan" if known and not one.parts else "")
        source = "the files" if one.missing is None else "config.json"
        if one.parts:
            numbers = sum(part.numbers for part in one.parts)
            named = ", ".join(f"{part.name} {part.numbers:,}" for part in one.parts)
            yield f"    {numbers:,} parameters by {source}: {named}"


def _memory(
    lmm: str, settings: Mapping[str, Any], folders: Mapping[str, Path], held: Mapping[str, Holding], family: Any,
    usual: lengths.Lengths, device: Device,
) -> Iterator[str]:  # fmt: skip
    parts = _loaded(folders, held)

    def peaks(changed: Mapping[str, Any]) -> dict[str, Phase]:
        adopt = changed["adopt"]
        shape = family.shape(folders, options_of(lmm, adopt), adopt.dtype, adopt.rows)
        lora = decoder.lora_weights(shape.painter, adopt.rank) * decoder.FLOAT
        weights = {
            stage: lora + sum(part.memory for part in parts if part.stages is None or stage in part.stages)
            for stage in LOOP
        }
        return stages(shape, changed, weights, usual)

    yield f"memory of each job's device, GiB, of {device.memory / GIB:.0f} ({device.name}); {RESERVE / GIB:.0f} is kept"
    found = peaks(settings)
    rows = [["", *COLUMNS, "sum", "", "when it is most"]]
    lacking: dict[str, Phase] = {}
    for stage, phase in found.items():
        fits = phase.total <= device.memory - RESERVE
        if not fits:
            lacking[stage] = phase
        cells = [f"{getattr(phase, name) / GIB:.2f}" for name in COLUMNS]
        rows.append([stage, *cells, f"{phase.total / GIB:.2f}", "fits" if fits else "TOO MUCH", phase.name])
    yield from _table(rows)
    for stage in lacking:
        side = getattr(family, "side_of", lambda *_: None)(folders, options_of(lmm, settings["adopt"]))
        found_one = advice(stage, settings, peaks, device.memory, side)
        if found_one is None:
            yield f"  {stage} does not fit whatever setting is changed: it takes a device with more memory"
        else:
            setting, old, new, total = found_one
            yield f"  {stage} does not fit: change {lmm}.{setting} from {old} to {new}: {total / GIB:.2f} GiB"


def _loaded(folders: Mapping[str, Path], held: Mapping[str, Holding]) -> list[Part]:
    """The parts in memory: a folder that serves several roles is loaded once, for all of their stages."""
    parts = []
    for path in dict.fromkeys(folders.values()):
        roles = [role for role in folders if folders[role] == path]
        for part in held[roles[0]].parts:
            parts.append(part if len(roles) == 1 else part._replace(stages=None))
    return parts


# ---- text ------------------------------------------------------------------------------------------------------------


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns aligned: numbers to the right."""
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    for row in rows:
        cells = [
            cell.rjust(width) if cell[:1].isdigit() else cell.ljust(width)
            for cell, width in zip(row, widths, strict=False)
        ]
        yield ("  " + "  ".join(cells)).rstrip()


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
