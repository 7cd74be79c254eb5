"""Fixed examinations: held-out prompts to draw, and pictures with balanced questions to answer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from silmm import rng as keyed
from silmm.shapeworld.holdout import is_held_out
from silmm.shapeworld.language import CATEGORY, SUBCATEGORIES, Spec, Unit, category, parse_prompt, units, write_prompt
from silmm.shapeworld.oracle import judge
from silmm.shapeworld.sample import sample_scene, sample_spec
from silmm.shapeworld.scene import Scene
from silmm.shapeworld.spoil import spoil


class EvalPrompt(NamedTuple):
    """A prompt with a held-out composition."""

    id: str
    subcategory: str
    prompt: str
    spec: Spec


def prompts(n: int) -> list[EvalPrompt]:
    """n distinct held-out prompts, the sub-categories in turn; the same for every seed, policy and machine."""
    rng = keyed.generator("shapeworld", "exam", "prompts")
    seen: set[str] = set()
    out: list[EvalPrompt] = []
    for i in range(n):
        name = SUBCATEGORIES[i % len(SUBCATEGORIES)]
        for _ in range(2000):
            spec = sample_spec(rng, name, held_out=True)
            text = write_prompt(spec, rng)
            if text not in seen:
                break
        else:
            raise ValueError(f"evaluate.prompts is {n}: ShapeWorld has fewer held-out {name} prompts; ask for fewer")
        seen.add(text)
        out.append(EvalPrompt(f"e{i:05d}", name, text, spec))
    return out


class Sight(NamedTuple):
    """A picture to look at: its scene, the unit asked about, and whether it holds."""

    subcategory: str
    scene: Scene
    unit: Unit
    holds: bool


def sights(n: int) -> list[Sight]:
    """For n held-out specifications, every unit once where it holds and once where it does not."""
    rng = keyed.generator("shapeworld", "exam", "sights")
    out: list[Sight] = []
    for i in range(n):
        name = SUBCATEGORIES[i % len(SUBCATEGORIES)]
        spec = sample_spec(rng, name, held_out=True)
        for unit in units(spec):
            out.append(Sight(name, sample_scene(rng, spec), unit, True))
            wrong = _scene_against(rng, spec, unit)
            if wrong is not None:
                out.append(Sight(name, wrong, unit, False))
    return out


def _scene_against(rng: np.random.Generator, spec: Spec, unit: Unit) -> Scene | None:
    """A scene in which the unit does not hold: of the specification with one word changed, else of another one."""
    for attempt in range(60):
        name = category(spec) or "color"
        near = attempt < 40 and unit.kind != "total"
        other = spoil(rng, spec, held_out=True) if near else sample_spec(rng, name, held_out=None)
        scene = sample_scene(rng, other)
        if not judge(unit, scene):
            return scene
    return None


def refusal(text: str, subcategory: str) -> str | None:
    """Why a self-written prompt cannot be used for training (`invalid`, `off_category`, `held_out`), or None."""
    spec = parse_prompt(text)
    if spec is None:
        return "invalid"
    if category(spec) != subcategory:
        return "off_category"
    return "held_out" if is_held_out(spec) else None


__all__ = ["CATEGORY", "EvalPrompt", "Sight", "prompts", "refusal", "sights"]
