"""How pictures are drawn: in step 2 by its settings, for a judgement by the name of a sampler."""

from __future__ import annotations

import re
from collections.abc import Sequence

from silmm.errors import InputError
from silmm.lmm.interface import Sampling
from silmm.settings import Images

_NAME = re.compile(r"t(\d+(?:\.\d+)?)|top_p(\d+(?:\.\d+)?)")
NOISES = {"fresh_noise": "free", "constant_noise": "constant"}  # decoder noise of a continuous LMM, without dropout
NOISE_WORDS = {  # for people
    "constant": "one decoder noise for all prompts",
    "prompt": "one decoder noise a prompt",
    "free": "one decoder noise a sample",
}
DEFAULT = {"discrete": "t1.0", "continuous": "fresh_noise"}


READ = {  # what an LMM of each kind reads of the way to draw
    "discrete": ("temperature", "top_p", "top_k", "guidance"),
    "continuous": ("rate", "layers", "site", "positions", "noise"),
}


def in_words(sampling: Sampling, images: str) -> str:
    """The options that draw so again, with an LMM whose images are of this kind."""
    return " ".join(f"--{name.replace('_', '-')} {getattr(sampling, name)}" for name in READ[images])


def sampling_of(settings: Images) -> Sampling:
    """Step 2's way to draw."""
    return Sampling(**{name: getattr(settings, name) for name in Sampling._fields})


def parse_sampler(name: str, images: str) -> Sampling:
    """The way of drawing that a name says, for an LMM whose images are of this kind.

    discrete: `t1.0` (no nucleus cut), `top_p0.9` (temperature 1). continuous, without dropout: `fresh_noise` (decoder
    noise that no training saw), `constant_noise` (one for all pictures, the same as in step 2).
    """
    if images == "continuous":
        if name not in NOISES:
            raise InputError(f"evaluate.samplers has {name!r}: expected {' or '.join(NOISES)} for a continuous LMM")
        return Sampling(noise=NOISES[name])
    found = _NAME.fullmatch(name)
    if not found:
        raise InputError(
            f"evaluate.samplers has {name!r}: expected t<temperature> or top_p<share>, e.g. t1.0, top_p0.9"
        )
    temperature, top_p = found.groups()
    if temperature is not None:
        if float(temperature) <= 0:
            raise InputError(f"evaluate.samplers has {name!r}: the temperature must be above 0")
        return Sampling(temperature=float(temperature))
    if not 0 < float(top_p) <= 1:
        raise InputError(f"evaluate.samplers has {name!r}: top_p must be above 0 and at most 1")
    return Sampling(top_p=float(top_p))


def parse_samplers(names: Sequence[str], images: str) -> list[Sampling]:
    """All of them; InputError where one is unknown or named twice."""
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"evaluate.samplers names {name!r} twice")
    return [parse_sampler(name, images) for name in names]
