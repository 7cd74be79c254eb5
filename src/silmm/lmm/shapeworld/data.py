"""Training examples from the world: captioned pictures (some captions spoiled), questions, lists, texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from silmm import rng as keyed
from silmm.lmm.shapeworld import layout
from silmm.lmm.shapeworld.vocab import Vocab
from silmm.shapeworld import sample
from silmm.shapeworld.language import SUBCATEGORIES, Spec, category, units, write_prompt, write_question
from silmm.shapeworld.render import render
from silmm.shapeworld.scene import Scene
from silmm.shapeworld.spoil import spoil


class Mix(NamedTuple):
    """How many examples of each task a step has."""

    draw: int  # captioned pictures
    free: int  # of these, how many have a caption of any form, beside those of the eight sub-categories
    look: int  # pictures with questions
    list: int  # of these, how many also have their objects listed
    ask: int  # prompts to split into questions
    write: int  # prompts to write


class Noise(NamedTuple):
    """Shares of the captions that do not tell what the picture shows: the painter that learns them is imperfect."""

    spoiled: float  # one word is changed
    mismatched: float  # the caption is another picture's


class Batch(NamedTuple):
    """One step's examples. `*_target` is -100 where nothing is learned."""

    draw_ids: np.ndarray  # [B, DRAW_PREFIX], to be followed by the codes of draw_images
    draw_images: np.ndarray  # uint8 [B, 30, 30, 3]
    look_images: np.ndarray  # uint8 [C, 30, 30, 3]
    branches: layout.Packed  # questions, then the list of objects, of each look image
    branch_target: np.ndarray  # next token where it is learned, the shape of branches.ids
    text_ids: np.ndarray  # [E, T]
    text_target: np.ndarray


N_QUESTIONS = len(sample.QUESTION_KINDS)
N_WHERE = 2
ASK_TOKENS = 48


def spec_pool(seed: int, n: int) -> list[Spec]:
    """Training specifications, the sub-categories in turn, none with a held-out composition."""
    rng = keyed.generator(seed, "pretrain", "specs")
    return [sample.sample_spec(rng, SUBCATEGORIES[i % len(SUBCATEGORIES)], held_out=False) for i in range(n)]


def question_text(spec: Spec) -> str:
    """The questions that a prompt should be split into, one after another."""
    return " ".join(write_question(unit) for unit in units(spec))


def _branches(
    rng: np.random.Generator, vocab: Vocab, scenes: list[Scene], listed_scenes: int
) -> tuple[layout.Packed, np.ndarray]:
    """Questions and the list of objects of each scene, and the token to learn at each place (-100: none)."""
    rows, targets = [], []
    for number, scene in enumerate(scenes):
        asked = [sample.sample_question(rng, scene, kind) for kind in sample.QUESTION_KINDS]
        branches = [layout.question_branch(vocab, write_question(unit, rng)) for unit, _ in asked]
        learned = [
            [-100] * (len(b) - 1) + [vocab.yes if ok else vocab.no] for b, (_, ok) in zip(branches, asked, strict=True)
        ]
        for thing, obj in sample.sample_unique_things(rng, scene, N_WHERE):
            found = layout.where_branch(vocab, thing, obj)
            branches.append(found[:-1])
            learned.append([-100] * (len(found) - 3) + found[-2:])
        if number < listed_scenes:
            listed = layout.list_branch(vocab, scene)
            branches.append(listed[:-1])
            learned.append(listed[1:])
        rows.append(branches)
        targets.append([t for branch in learned for t in branch])
    packed = layout.pack(vocab, rows)
    target = np.full_like(packed.ids, -100)
    for row, tokens in zip(target, targets, strict=True):
        row[: len(tokens)] = tokens
    return packed, target


def _texts(rng: np.random.Generator, vocab: Vocab, pool: list[Spec], mix: Mix) -> tuple[np.ndarray, np.ndarray]:
    """Prompts to write and questions to ask, in rows of one length."""
    width = layout.PROMPT_WORDS + 3 + ASK_TOKENS
    ids = np.full((mix.ask + mix.write, width), vocab.pad, np.int64)
    target = np.full_like(ids, -100)
    longest = 0
    for row in range(mix.ask + mix.write):
        spec = pool[rng.integers(len(pool))]
        prompt = write_prompt(spec, rng)
        if row < mix.ask:
            prefix = layout.ask_prefix(vocab, [prompt])[0]
            answer = [*vocab.encode(question_text(spec)), vocab.eos]
        else:
            prefix = layout.write_prefix(vocab, [str(category(spec))])[0]
            answer = [*vocab.encode(prompt), vocab.eos]
        n = len(prefix) + len(answer) - 1
        longest = max(longest, n)
        ids[row, :n] = [*prefix, *answer[:-1]]
        target[row, len(prefix) - 1 : n] = answer
    return ids[:, :longest], target[:, :longest]


def _told(rng: np.random.Generator, pool: list[Spec], spec: Spec, noise: Noise) -> Spec:
    """What the caption of a picture of `spec` tells."""
    draw = rng.random()
    if draw < noise.spoiled:
        return spoil(rng, spec)
    if draw < noise.spoiled + noise.mismatched:
        return pool[rng.integers(len(pool))]
    return spec


Picture = Callable[[np.random.Generator, Spec], Scene]


def make_batch(
    seed: int, step: int, vocab: Vocab, pool: list[Spec], mix: Mix, noise: Noise, picture: Picture = sample.sample_scene
) -> Batch:
    """The examples of one training step, a pure function of seed and step. picture: the scene that a caption shows."""
    rng = keyed.generator(seed, "pretrain", "batch", step)
    drawn = [pool[rng.integers(len(pool))] for _ in range(mix.draw - mix.free)]
    captions = [write_prompt(_told(rng, pool, spec, noise), rng) for spec in drawn]
    drawn += [sample.sample_free_spec(rng) for _ in range(mix.free)]
    captions += [write_prompt(_told(rng, pool, spec, noise), rng) for spec in drawn[len(captions) :]]
    seen = [sample.sample_scene(rng, pool[rng.integers(len(pool))]) for _ in range(mix.look)]
    branches, branch_target = _branches(rng, vocab, seen, mix.list)
    text_ids, text_target = _texts(rng, vocab, pool, mix)
    return Batch(
        layout.draw_prefix(vocab, captions),
        render([picture(rng, spec) for spec in drawn]),
        render(seen),
        branches,
        branch_target,
        text_ids,
        text_target,
    )
