"""The oracle against the renderer: exact on clean pictures, measured on spoiled ones, strict on malformed ones."""

from __future__ import annotations

import numpy as np
import pytest

from silmm.shapeworld.language import SUBCATEGORIES, Spec, Thing, Unit, parse_prompt, units
from silmm.shapeworld.oracle import judge, read
from silmm.shapeworld.render import N_LABELS, patches, render
from silmm.shapeworld.sample import QUESTION_KINDS, sample_question, sample_scene, sample_spec
from silmm.shapeworld.scene import KINDS, Obj, Scene

N = 2000


@pytest.fixture(scope="module")
def world() -> tuple[list[Spec], list[Scene]]:
    rng = np.random.default_rng(0)
    specs = [sample_spec(rng, SUBCATEGORIES[i % 8], held_out=None) for i in range(N)]
    return specs, [sample_scene(rng, spec) for spec in specs]


def same(found: Scene | None, scene: Scene) -> bool:
    """Same objects, same links, whatever the numbering."""
    if found is None or sorted(found.objects) != sorted(scene.objects):
        return False
    ends = [{frozenset((s.objects[i], s.objects[j])) for i, j in s.links} for s in (found, scene)]
    return ends[0] == ends[1]


def test_every_patch_is_distinct() -> None:
    assert len(np.unique(patches().reshape(N_LABELS, -1), axis=0)) == N_LABELS == 5 + 4 * len(KINDS)


def test_reads_every_rendered_scene(world: tuple[list[Spec], list[Scene]]) -> None:
    specs, scenes = world
    found = read(render(scenes))
    assert np.mean([same(f, s) for f, s in zip(found, scenes, strict=True)]) >= 0.995
    assert all(all(judge(u, f) for u in units(spec)) for spec, f in zip(specs, found, strict=True))


def test_judges_read_scenes_like_true_ones(world: tuple[list[Spec], list[Scene]]) -> None:
    _, scenes = world
    rng = np.random.default_rng(1)
    answers = []
    for i, (scene, found) in enumerate(zip(scenes, read(render(scenes)), strict=True)):
        unit, holds = sample_question(rng, scene, QUESTION_KINDS[i % len(QUESTION_KINDS)], held_out=True)
        assert judge(unit, found) == holds
        answers.append(holds)
    assert 0.45 < np.mean(answers) < 0.55  # yes and no are balanced


@pytest.mark.parametrize(("spoil", "at_least"), [("noise", 0.99), ("brightness", 0.99), ("blur", 0.95)])
def test_reads_spoiled_pictures(world: tuple[list[Spec], list[Scene]], spoil: str, at_least: float) -> None:
    _, scenes = world
    pictures = render(scenes).astype(float)
    if spoil == "noise":
        pictures += np.random.default_rng(2).normal(0, 20, pictures.shape)
    elif spoil == "brightness":
        pictures = pictures * 0.9 + 5
    else:  # a quarter of every pixel leaks to its four neighbours
        padded = np.pad(pictures, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
        around = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
        pictures = 0.75 * pictures + 0.25 * around / 4
    found = read(pictures.clip(0, 255).astype(np.uint8))
    assert np.mean([same(f, s) for f, s in zip(found, scenes, strict=True)]) >= at_least


def test_malformed_pictures_have_no_scene() -> None:
    red = Scene((Obj("red", "square", "solid", "big", 0, 0),))
    picture = render([red])[0]
    halved, dangling, random = picture.copy(), picture.copy(), picture.copy()
    halved[:, 5:] = picture[-1, -1]  # left half, with nothing in front of it
    dangling[14:16, 10:20] = (120, 60, 140)  # a link between nothing
    random[20:, 20:] = np.random.default_rng(0).integers(0, 256, (10, 10, 3))
    assert read(np.stack([picture, halved, dangling, random])) == [red, None, None, None]
    assert not judge(Unit("exist", Thing("square", "red")), None)


def test_extra_objects_count_against() -> None:
    spec = parse_prompt("a red circle and a blue square")
    assert spec is not None
    two = (Obj("red", "circle", "solid", "big", 0, 0), Obj("blue", "square", "solid", "big", 0, 4))
    three = (*two, Obj("green", "square", "solid", "big", 4, 0))
    assert [judge(u, Scene(two)) for u in units(spec)] == [True, True, True]
    assert [judge(u, Scene(three)) for u in units(spec)] == [True, True, False]


def test_occlusion_and_links() -> None:
    behind, front = Obj("blue", "square", "solid", "big", 2, 2), Obj("red", "circle", "solid", "small", 2, 3)
    left, right = Obj("red", "circle", "solid", "big", 0, 0), Obj("blue", "square", "striped", "small", 0, 4)
    hidden, linked = read(render([Scene((behind, front)), Scene((left, right), ((0, 1),))]))
    circle, square = Thing("circle", "red"), Thing("square", "blue")
    assert judge(Unit("relation", circle, 0, "front", square), hidden)
    assert judge(Unit("relation", square, 0, "behind", circle), hidden)
    assert not judge(Unit("relation", square, 0, "front", circle), hidden)
    assert not judge(Unit("relation", circle, 0, "right", square), hidden)  # they overlap
    assert judge(Unit("relation", square, 0, "linked", circle), linked)
    assert not judge(Unit("relation", square, 0, "linked", circle), hidden)


def test_wrong_shape_is_named() -> None:
    with pytest.raises(ValueError, match=r"images must be \[n, 30, 30, 3\], not \[1, 24, 24, 3\]"):
        read(np.zeros((1, 24, 24, 3), np.uint8))
