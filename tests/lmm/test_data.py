"""Training examples: what captions tell, as a function of seed and step."""

from __future__ import annotations

import numpy as np
import pytest

from silmm.lmm.shapeworld import data, layout
from silmm.lmm.shapeworld import vocab as vocabulary
from silmm.shapeworld import oracle, sample
from silmm.shapeworld.holdout import is_held_out
from silmm.shapeworld.language import parse_prompt, units, write_prompt

VOCAB = vocabulary.build(8)
MIX = data.Mix(draw=64, free=0, look=2, list=1, ask=2, write=2)


def right_captions(noise: data.Noise) -> float:
    """Share of captions that the oracle finds true of their picture."""
    pool = data.spec_pool(0, 400)
    right = []
    for step in range(3):
        batch = data.make_batch(0, step, VOCAB, pool, MIX, noise)
        scenes = oracle.read(batch.draw_images)
        for ids, scene in zip(batch.draw_ids, scenes, strict=True):
            spec = parse_prompt(VOCAB.decode([i for i in ids[:-1] if i not in (VOCAB.pad, VOCAB.bos)][1:]))
            assert spec is not None and not is_held_out(spec)
            right.append(all(oracle.judge(unit, scene) for unit in units(spec)))
    return float(np.mean(right))


@pytest.mark.parametrize(
    ("noise", "low", "high"),
    [((0.0, 0.0), 1.0, 1.0), ((1.0, 0.0), 0.0, 0.35), ((0.0, 1.0), 0.0, 0.05), ((0.25, 0.25), 0.4, 0.7)],
)
def test_noise_is_the_share_of_captions_that_are_wrong(noise: tuple[float, float], low: float, high: float) -> None:
    assert low <= right_captions(data.Noise(*noise)) <= high


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    pool, noise = data.spec_pool(0, 50), data.Noise(0.2, 0.2)
    mix = MIX._replace(draw=8, free=4)
    one, same, other = (data.make_batch(0, step, VOCAB, pool, mix, noise) for step in (3, 3, 4))
    assert np.array_equal(one.draw_ids, same.draw_ids) and np.array_equal(one.look_images, same.look_images)
    assert not np.array_equal(one.draw_ids, other.draw_ids)


def test_free_captions_are_true_fit_and_hold_nothing_out() -> None:
    rng = np.random.default_rng(1)
    specs = [sample.sample_free_spec(rng) for _ in range(500)]
    prompts = [write_prompt(spec, rng) for spec in specs]
    scenes = [sample.sample_scene(rng, spec) for spec in specs]
    assert layout.draw_prefix(VOCAB, prompts).shape == (500, layout.DRAW_PREFIX)
    assert not any(map(is_held_out, specs))
    assert {len(spec.items) for spec in specs} == {1, 2, 3}
    assert all(oracle.judge(u, scene) for spec, scene in zip(specs, scenes, strict=True) for u in units(spec))
