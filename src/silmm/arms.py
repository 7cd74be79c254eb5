"""Runs, arms and iterations: which files there are, and which arm makes the ones that several arms share.

An arm is a named difference from the config's stage settings. A file of iteration t depends on the settings of
its stage and on the files before it, back to the base; two arms for which all of these are equal share the file,
and it is made in the folder of the first of them (`Plan.home`). Pure functions of the config: no file is touched.

Ablations are arms of one iteration, as the paper's are, that no run makes unasked: figures ask for them, by name.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
import shlex
import typing
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple

from silmm.errors import InputError
from silmm.settings import STAGES, check, shaping
from silmm.typed_json import short

BASE_STAGES = ("pretrain", "adopt")  # the arms of a seed share its base
ARM_STAGES = tuple(name for name in STAGES if name not in BASE_STAGES)
SHAPEWORLD = ("discrete", "continuous")  # trained here, and judged by the oracle
ADOPTED = ("dreamllm", "emu3", "janus", "seed_llama")  # pretrained LMMs of the open world: no oracle judges them
CONTINUOUS = ("continuous", "dreamllm")  # they draw features, which a decoder turns into pictures
LMMS = (*SHAPEWORLD, *ADOPTED)
OF_LMM = ("main", "arms", "ablations", "figures", *STAGES)  # what an LMM's own section may change
_OF_RUN = ("lmms", "seeds", "shards", "iterations", "control_iterations", "shipped", "avoid", "benchmarks", "pathvars")
KEYS = (*_OF_RUN, *OF_LMM, *LMMS)

NAME = "[a-z][a-z0-9_]*"  # of an arm or a figure: parts of file names, and of commands
RESULTS = r"[\w./+=@%,:][\w./+=@%,:-]*"  # of the results' folder, which rules write into commands as it is
# Files are named, and jobs counted, before anything runs: more of any of these would take minutes, or never end.
ITERATIONS, SHARDS, ARMS, SEEDS = 100, 1000, 500, 1000

# What a stage reads of its own iteration; every one reads the policy that came before, too.
_INPUTS: dict[str, tuple[str, ...]] = {
    "prompts": (),
    "images": ("prompts",),
    "questions": ("prompts",),
    "score": ("images", "questions"),
    "pairs": ("score", "questions", "images"),
    "align": ("pairs", "prompts", "questions", "images"),
    "evaluate": ("align", "pairs", "prompts", "images"),
}


class Entry(NamedTuple):
    """One judged policy of one LMM and seed: where its row stands, and the arm whose folder holds the files."""

    arm: str
    iteration: int
    home: str


@dataclass(frozen=True)
class Arm:
    """One arm: the settings of every stage, whether it trains, its last iteration, and whether every run makes it."""

    name: str
    settings: Mapping[str, Any]
    train: bool
    iterations: int
    unasked: bool = True


@dataclass(frozen=True)
class Plan:
    """The checked config of one LMM. The main arm comes first, then the others, then ablations, by name each: however
    files were merged."""

    seeds: tuple[int, ...]
    shards: int
    settings: Mapping[str, Any]
    arms: Mapping[str, Arm]
    shipped: Mapping[int, str]
    figures: Mapping[str, tuple[str, ...]]

    def home(self, arm: str, iteration: int, stage: str) -> str:
        """The first arm whose file of this stage and iteration is the same."""
        wanted = self._fingerprint(arm, iteration, stage)
        for name, other in self.arms.items():
            makes = iteration <= other.iterations and (other.train or stage == "evaluate")
            if makes and self._fingerprint(name, iteration, stage) == wanted:
                return name
        return arm  # an iteration beyond the plan, asked for by its file name

    def entries(self, figure: str | None = None) -> Iterator[Entry]:
        """Every judged policy but the base, arm by arm: those that a run makes unasked, or those of a figure.

        A figure names arms: `silmm` means all its iterations, `silmm@1` the first alone.
        """
        unasked = tuple(name for name, arm in self.arms.items() if arm.unasked)
        for word in unasked if figure is None else self.figures.get(figure, ()):
            name, _, t = word.partition("@")
            for iteration in [int(t)] if t else range(1, self.arms[name].iterations + 1):
                yield Entry(name, iteration, self.home(name, iteration, "evaluate"))

    def options(self, stage: str, arm: str | None = None) -> str:
        """The command line options that hand a stage the settings that its results depend on, in the order of the
        fields."""
        settings = self.arms[arm].settings[stage] if arm else self.settings[stage]
        return " ".join(option(stage, name, value) for name, value in shaping(settings).items())

    def _fingerprint(self, arm: str, iteration: int, stage: str) -> str:
        """A hash of everything that a file depends on; equal for two arms exactly when their files are the same."""
        key = arm, iteration, stage
        if key not in self._known:
            own = self.arms[arm]
            parts = ["base"]
            if iteration:
                inputs = _INPUTS[stage] if own.train else ()
                parts = [
                    stage,
                    str(iteration),
                    str(shaping(own.settings[stage])),
                    self._fingerprint(arm, iteration - 1, "align"),
                ]
                parts += [self._fingerprint(arm, iteration, name) for name in inputs]
            self._known[key] = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        return self._known[key]

    @cached_property
    def _known(self) -> dict[tuple[str, int, str], str]:
        return {}


def flag(stage: str, field: str) -> str:
    """The option of a settings field; `evaluate` also takes a prompts file, so its number is `--n-prompts`."""
    return "--n-prompts" if (stage, field) == ("evaluate", "prompts") else "--" + field.replace("_", "-")


def option(stage: str, field: str, value: Any) -> str:
    """A settings field on the command line."""
    name = flag(stage, field)
    if isinstance(value, bool):
        return name if value else "--no-" + name[2:]
    return f"{name} {shlex.quote(','.join(value) if isinstance(value, tuple) else str(value))}"


def typed(config: Any) -> Any:
    """The config with numbers, true, false and null where texts spell them.

    `--config 'align={lr: 1e-3}'` arrives as texts, and YAML itself reads 1e-3 (without a point) as one.
    """
    if isinstance(config, Mapping):
        return {key: typed(value) for key, value in config.items()}
    if isinstance(config, list):
        return [typed(value) for value in config]
    if not isinstance(config, str):
        return config
    if config in _WORDS:
        return _WORDS[config]
    for kind in (int, float):
        with suppress(ValueError):
            return kind(config)
    return config


_WORDS = {"true": True, "false": False, "null": None, "~": None}


# --- from the config ----------------------------------------------------------------------------------------------


def of_lmm(lmm: str) -> tuple[str, ...]:
    """The keys of an LMM's own section: what makes its base is its own kind's, and only the oracle judges."""
    others = ("pretrain", "evaluate", "ablations", "figures") if lmm in ADOPTED else ("adopt",)
    return tuple(key for key in OF_LMM if key not in others)


def plans(config: Mapping[str, Any]) -> dict[str, Plan]:
    """The plan of every LMM that the config names; raises what `plan` raises."""
    return {lmm: plan(config, lmm) for lmm in _list(config, "lmms", str, LMMS)}


def plan(config: Mapping[str, Any], lmm: str = LMMS[0]) -> Plan:
    """Check the config and return the plan of one LMM; InputError names the key, its value, and what it should be, on
    one line.

    The section with the LMM's name changes the general sections, key by key. An arm that is null does not run: that is
    how one config file, or one LMM, takes away an arm of another.
    """
    try:
        return _checked(config, lmm)
    except InputError as error:
        line = " ".join(str(error).split())
        raise InputError(line if len(line) <= 600 else f"{line[:200]} ... {line[-350:]}") from None


def _checked(config: Mapping[str, Any], lmm: str) -> Plan:
    for key in config:
        if key not in KEYS:
            raise InputError(f"config: unknown key '{key}'; known are {', '.join(KEYS)}")
    _list(config, "lmms", str, LMMS)
    _check_results(section_of(config, "pathvars"))
    _check_avoid(config.get("avoid"))
    own = section_of(config, lmm)
    for key in own:
        if key not in of_lmm(lmm):
            raise InputError(f"config: unknown key '{lmm}.{key}'; known are {', '.join(of_lmm(lmm))}")
    try:
        made = _plan({**config, **{key: _merged(config.get(key), value) for key, value in own.items()}}, lmm)
    except InputError as error:
        _plan(config, lmm)  # if the general sections are wrong without it, that is what to say
        raise InputError(str(error).replace("config: ", f"config: {lmm}: ", 1)) from None
    if lmm in ADOPTED:
        _check_adopted(made, lmm)
    for arm in made.arms.values():
        where = f"{lmm}: {'arms' if arm.unasked else 'ablations'}.{arm.name}: "
        _check_kind(arm, lmm, "" if arm.name == config["main"] else where)
    return made


def _check_results(pathvars: Mapping[str, Any]) -> None:
    """InputError for a folder of results that a shell would take for more than a name: rules write it as it is."""
    for key, folder in pathvars.items():
        if key != "results":
            raise InputError(f"config: unknown key 'pathvars.{key}'; known is results")
        if not isinstance(folder, str) or not re.fullmatch(RESULTS, folder):
            rule = "must be a folder's name of letters, digits and ./_-+=@%,: alone (no spaces, no quotes)"
            raise InputError(f"config: pathvars.results is {folder!r}: {rule}")


def _check_avoid(paths: Any) -> None:
    if paths is not None and not (isinstance(paths, list) and all(isinstance(path, str) and path for path in paths)):
        raise InputError(f"config: avoid is {paths!r}: must be a list of files or folders of benchmark prompts")


def _check_adopted(made: Plan, lmm: str) -> None:
    """InputError where a pretrained LMM has no weights, or an arm that would only be judged."""
    if not made.settings["adopt"].weights:
        raise InputError(f"config: {lmm}.adopt.weights is '': must be the folder of the model's weights")
    for arm in made.arms.values():
        if not arm.train:
            raise InputError(
                f"config: {lmm}: arms.{arm.name} trains nothing and is only judged, which takes ShapeWorld's oracle:"
                f" take it away ({lmm}: {{arms: {{{arm.name}: null}}}})"
            )


def _check_kind(arm: Arm, lmm: str, where: str) -> None:
    """InputError for settings of an arm that this LMM, or its world, has no use for: found here, and not by a stage
    that runs hours later."""
    images, own = arm.settings["images"], "continuous" if lmm in CONTINUOUS else "discrete"
    if lmm in SHAPEWORLD:
        from silmm.lmm.sampler import parse_samplers

        try:
            parse_samplers(arm.settings["evaluate"].samplers, own)
        except InputError as error:
            raise InputError(f"config: {where or lmm + ': '}{error}") from None
    faults = {
        f"images.noises is {images.noises}: must be 1 for a discrete LMM, which has no decoder noise": (
            own == "discrete" and images.noises > 1
        ),
        f"images.guidance is {images.guidance}: must be 1.0 for ShapeWorld's LMM, which has none": (
            lmm == "discrete" and images.guidance != 1.0
        ),
        f"images.top_k is {images.top_k}: must be 0 for ShapeWorld's LMM, which has none": (
            lmm == "discrete" and images.top_k > 0
        ),
        f"images.rate is {images.rate} and images.layers {images.layers}: both must be above 0, or the samples of a"
        " prompt have the same features, and there is nothing to prefer": (
            arm.train and own == "continuous" and not images.rate * images.layers
        ),
        "pairs.scorer is oracle: it judges ShapeWorld's pictures alone": (
            lmm in ADOPTED and arm.settings["pairs"].scorer == "oracle"
        ),
    }
    for fault, found in faults.items():
        if found:
            raise InputError(f"config: {where or lmm + ': '}{fault}")


def _merged(general: Any, own: Any) -> Any:
    if not isinstance(general, Mapping) or not isinstance(own, Mapping):
        return own
    return {**general, **{key: _merged(general.get(key), value) for key, value in own.items()}}


def _plan(config: Mapping[str, Any], lmm: str) -> Plan:
    settings = {stage: _settings(stage, section_of(config, stage), stage) for stage in STAGES}
    iterations = _whole(config, "iterations", 1, ITERATIONS)
    controls = min(iterations, _whole(config, "control_iterations", 1, ITERATIONS))
    unasked = {name: own for name, own in section_of(config, "arms").items() if own is not None}
    ablations = {name: own for name, own in section_of(config, "ablations").items() if own is not None}
    changes = ablations | unasked
    if len(changes) > ARMS:
        raise InputError(f"config: arms and ablations are {len(changes):,}: must be at most {ARMS}")
    main = config.get("main")
    if not isinstance(main, str) or main not in unasked:
        raise InputError(f"config: main is {main!r}: must be one of the arms ({', '.join(map(str, unasked))})")
    names = sorted(changes, key=lambda name: (name != main, name not in unasked, str(name)))
    last = {name: iterations if name == main else controls if name in unasked else 1 for name in names}
    arms = {name: _arm(name, changes[name], settings, last[name], name in unasked) for name in names}
    if not arms[main].train:
        raise InputError(f"config: arms.{main}: the main arm must train")
    return Plan(
        seeds=_list(config, "seeds", int),
        shards=_whole(config, "shards", 1, SHARDS),
        settings=settings,
        arms=arms,
        shipped=_shipped(section_of(config, "shipped")).get(lmm, {}),
        figures=_figures(config, arms),
    )


def _figures(config: Mapping[str, Any], arms: Mapping[str, Arm]) -> dict[str, tuple[str, ...]]:
    """{figure: arms, perhaps with an iteration}; a figure of null, or one of an arm that is null, is left out."""
    gone = {name for key in ("arms", "ablations") for name in section_of(config, key)} - set(arms)
    found = {}
    for figure, words in section_of(config, "figures").items():
        if words is None or (isinstance(words, list) and gone & {str(word).partition("@")[0] for word in words}):
            continue
        where = f"figures.{figure}"
        if not re.fullmatch(NAME, str(figure)):
            raise InputError(f"config: {where[:60]!r}: a figure's name is lower case letters, digits and '_'")
        if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
            raise InputError(f"config: {where} is {words!r}: must be a list of arms")
        for word in words:
            name, at, t = word.partition("@")
            if name not in arms:
                raise InputError(f"config: {where}: no arm '{name}'; there is {', '.join(arms)}")
            if at and not (t.isdecimal() and 1 <= int(t) <= arms[name].iterations):
                raise InputError(f"config: {where}: {word!r}: {name} has iterations 1 to {arms[name].iterations}")
        found[str(figure)] = tuple(words)
    return found


def _arm(name: Any, changes: Any, settings: Mapping[str, Any], iterations: int, unasked: bool) -> Arm:
    where = f"{'arms' if unasked else 'ablations'}.{name}"
    if not re.fullmatch(NAME, str(name)) or name == "base":
        raise InputError(f"config: {where}: an arm's name is lower case letters, digits and '_', and not 'base'")
    if not isinstance(changes, Mapping):
        raise InputError(f"config: {where} is {changes!r}: must be a mapping of stages ({{}} for no change)")
    for key in changes:
        if key not in (*ARM_STAGES, "train"):
            raise InputError(f"config: unknown key '{where}.{key}'; known are {', '.join(ARM_STAGES)}, train")
    train = changes.get("train", True)
    if not isinstance(train, bool):
        raise InputError(f"config: {where}.train is {train!r}: must be true or false")
    if extra := [key for key in changes if not train and key not in ("train", "evaluate")]:
        raise InputError(f"config: {where}.{extra[0]} has no effect: an arm that does not train is only evaluated")
    own = {
        stage: _settings(stage, section_of(changes, stage, where + "."), f"{where}.{stage}", settings[stage])
        for stage in ARM_STAGES
    }
    return Arm(name, own, train, iterations if train else 1, unasked)


def _settings(stage: str, section: Mapping[str, Any], where: str, base: Any = None) -> Any:
    """The settings dataclass of a stage: `base` (or the defaults) with the section's values."""
    base = STAGES[stage]() if base is None else base
    hints = _hints(STAGES[stage])
    for key in section:
        if key not in hints:
            raise InputError(f"config: unknown key '{where}.{key}'; known are {', '.join(hints)}")
    values = {key: value_of(value, hints[key], f"{where}.{key}") for key, value in section.items()}
    settings = dataclasses.replace(base, **values)
    try:
        check(settings)
    except ValueError as error:
        raise InputError(f"config: {'' if where == stage else where + ': '}{error}") from None
    return settings


def value_of(value: Any, hint: Any, where: str) -> Any:
    """A config value as the type of its field: whole numbers are numbers too, nothing else is converted."""
    if typing.get_origin(hint) is tuple:
        if isinstance(value, list | tuple) and value and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise InputError(f"config: {where} is {value!r}: must be a list of texts")
    if hint is float and type(value) is int and abs(value) < 2**63:
        return float(value)
    wild = (type(value) is int and abs(value) >= 2**63) or (type(value) is float and not math.isfinite(value))
    if type(value) is not hint or wild:
        kind = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}[hint]
        raise InputError(f"config: {where} is {value!r}: must be {kind}")
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def section_of(config: Mapping[str, Any], key: str, prefix: str = "") -> Mapping[str, Any]:
    """The mapping that is a key's value, {} where there is none; InputError for anything else."""
    section = config.get(key)
    if section is None:
        return {}
    if not isinstance(section, Mapping):
        raise InputError(f"config: {prefix}{key} is {section!r}: must be a mapping")
    return section


def _whole(config: Mapping[str, Any], key: str, low: int, high: int) -> int:
    value = config.get(key)
    if type(value) is not int or not low <= value <= high:
        raise InputError(f"config: {key} is {short(value)}: must be a whole number, {low} to {high:,}")
    return value


def _list(config: Mapping[str, Any], key: str, kind: type, choices: tuple[Any, ...] = ()) -> tuple[Any, ...]:
    values: Any = config.get(key)
    what = f"names out of {', '.join(choices)}" if choices else "whole numbers, not negative"

    def ok(value: Any) -> bool:
        return value in choices if choices else value >= 0

    if isinstance(values, list) and len(values) > SEEDS:
        raise InputError(f"config: {key} has {len(values):,} items: must have at most {SEEDS}")
    right = isinstance(values, list) and len(values) > 0 and len(set(map(str, values))) == len(values)
    if not right or any(type(value) is not kind for value in values) or any(not ok(value) for value in values):
        raise InputError(f"config: {key} is {values!r}: must be a list, without repetition, of {what}")
    return tuple(values)


def _shipped(section: Mapping[str, Any]) -> dict[str, dict[int, str]]:
    """{lmm: {seed: folder}}; a folder of null is left out: it says that there is none."""
    folders: dict[str, dict[int, str]] = {lmm: {} for lmm in SHAPEWORLD}
    for lmm in section:
        for seed, folder in section_of(section, lmm, "shipped.").items():
            where = f"shipped.{lmm}.{seed}"
            if not str(seed).isdecimal() or lmm not in SHAPEWORLD or not (folder is None or isinstance(folder, str)):
                raise InputError(f"config: {where} is {folder!r}: must be LMM: {{SEED: FOLDER}}")
            if folder is not None:
                folders[lmm][int(seed)] = folder
    return folders
