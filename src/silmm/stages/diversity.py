"""Ways to make a prompt's samples differ, on one policy, judged by the oracle: the counterpart of the paper's Figure 5.

    rephrase    other wordings of the prompt: as many different ones as the language has, each as often as can be
    explain     the prompt with details that it leaves open filled in at random
    noisy       Gaussian noise on the input embeddings of the dream queries
    divdrop     dropout in the MLPs of the last layers, as step 2 draws
    none        one sample without any of these, to compare with

Every strategy draws with one decoder noise a prompt, the same for all, so that samples differ by the strategy alone. A
picture is judged by the prompt itself, whatever text it was drawn from, and so is the policy's own score.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from silmm import rng as keyed
from silmm.errors import InputError
from silmm.kernels.features import distance, pool
from silmm.lmm.interface import Drawn, NoisyQueries, Sampling
from silmm.lmm.sampler import sampling_of
from silmm.records import DIVERSITY, write_table
from silmm.settings import Images
from silmm.shapeworld import exam
from silmm.shapeworld.rewording import explained, wordings
from silmm.stages.own_score import ask, own_scores
from silmm.stages.pictures import tokens_of
from silmm.stages.runtime import prepare, progress
from silmm.stages.verdicts import verdicts
from silmm.stages.worlds import Asked, load_judged

STRATEGIES = ("none", "rephrase", "explain", "noisy", "divdrop")
PROMPTS = 48  # of each sub-category
PLAIN = Sampling(noise="prompt")


def run(settings: Images, *, ckpt: Path, seed: int, out: Path, strength: float, threads: int = 1) -> None:
    """Draw `settings.n` samples of every held-out prompt by every strategy, and write a row a sample (`DIVERSITY`).

    Args:
        settings: as step 2 would draw. Decoder noise is one a prompt, with one picture a sample, whatever they say.
        strength: of the noise on the queries' input embeddings, in units of their root mean square.

    Raises:
        InputError: a policy without dream queries, or settings that do not fit it.
    """
    prepare(threads)
    policy = load_judged(ckpt)
    if not isinstance(policy, NoisyQueries):
        raise InputError(f"{ckpt}: its images are {policy.images}: the strategies are for an LMM with dream queries")
    tests = exam.prompts(PROMPTS * len(exam.SUBCATEGORIES))
    drop = sampling_of(settings)._replace(noise="prompt", noises=1)
    try:
        columns = measure(policy, tests, seed, settings.n, drop, strength)
    except ValueError as error:
        raise InputError(f"{ckpt}: {error}") from None
    write_table(out, columns, DIVERSITY)


def measure(
    policy: NoisyQueries, tests: Sequence[exam.EvalPrompt], seed: int, n: int, drop: Sampling, strength: float
) -> dict[str, list[Any]]:
    """The columns of `DIVERSITY`; ValueError for a sampling that does not fit the policy."""
    prompts = [t.prompt for t in tests]
    asked = ask(policy, prompts)
    columns: dict[str, list[Any]] = {name: [] for name in DIVERSITY.columns}
    for strategy in progress(STRATEGIES, "diversity"):
        samples = 1 if strategy == "none" else n
        keys = [[(seed, "diversity", t.id, k) for k in range(samples)] for t in tests]
        texts = [_texts(strategy, t, row) for t, row in zip(tests, keys, strict=True)]
        if strategy == "divdrop":
            drawn = policy.draw(prompts, keys, drop)
        elif strategy == "noisy":
            drawn = policy.draw_noisy(prompts, keys, strength)
        else:
            drawn = _draw_texts(policy, texts, keys)
        _judge(policy, strategy, tests, texts, asked, drawn, columns)
    return columns


def _texts(strategy: str, test: exam.EvalPrompt, keys: Sequence[tuple]) -> list[str]:
    """What each sample of a prompt is drawn from."""
    if strategy == "explain":
        return [explained(test.prompt, test.spec, keyed.generator("explain", *key)) for key in keys]
    if strategy == "rephrase":
        known = wordings(test.spec)
        order = keyed.generator("rephrase", *keys[0][:-1]).permutation(len(known))
        return [known[order[k % len(known)]] for k in range(len(keys))]
    return [test.prompt] * len(keys)


def _draw_texts(policy: NoisyQueries, texts: Sequence[Sequence[str]], keys: Sequence[Sequence[tuple]]) -> Drawn:
    """One picture of each text; the texts of one prompt share its decoder noise."""
    flat = [text for row in texts for text in row]
    drawn = policy.draw(flat, [[key] for row in keys for key in row], PLAIN)
    tokens, feats = tokens_of(drawn), drawn.feats_PNQD
    assert feats is not None
    shape = len(texts), len(texts[0])
    return Drawn(tokens.reshape(*shape, -1), feats.reshape(*shape, *feats.shape[2:]))


def _judge(
    policy: NoisyQueries,
    strategy: str,
    tests: Sequence[exam.EvalPrompt],
    texts: Sequence[Sequence[str]],
    asked: Sequence[Asked],
    drawn: Drawn,
    columns: dict[str, list[Any]],
) -> None:
    """Append a row a sample."""
    assert drawn.feats_PNQD is not None
    n = len(texts[0])
    tokens_NL = tokens_of(drawn).reshape(len(tests) * n, -1)
    seen = verdicts(policy, [t.spec for t in tests for _ in range(n)], tokens_NL)
    scores = own_scores(policy, tokens_NL, [questions for questions in asked for _ in range(n)])
    apart = distances(drawn.feats_PNQD).reshape(-1)
    for i, score in enumerate(scores):
        test, sample = tests[i // n], i % n
        judged = bool(seen.whole_N[i]), float(seen.held_N[i]), bool(seen.malformed_N[i])
        row = (strategy, test.id, test.subcategory, sample, texts[i // n][sample], *judged, len(asked[i // n]),
               score or 0.0, float(apart[i]))  # fmt: skip
        for name, value in zip(columns, row, strict=True):
            columns[name].append(value)


def distances(feats_PNQD: np.ndarray) -> np.ndarray:
    """Mean cosine distance of each sample's average-pooled features to the other samples of its prompt, `[P, N]`; 0
    where there is one sample. Their mean over samples is the mean over pairs: what KC-DPO learns from."""
    prompts, samples = feats_PNQD.shape[:2]
    pooled = pool(torch.from_numpy(feats_PNQD).flatten(0, 1), "avg").unflatten(0, (prompts, samples))
    one, other = (x.flatten(0, 2) for x in torch.broadcast_tensors(pooled[:, :, None], pooled[:, None]))
    between = distance(one, other, "cosine").unflatten(0, (prompts, samples, samples))
    return (between.sum(-1) / max(samples - 1, 1)).double().numpy()
