"""Step 2: N diverse images of each prompt, by nucleus sampling of tokens or by DivDrop (paper section 3.2)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from silmm import lmm as models
from silmm.errors import InputError, TextError
from silmm.lmm.sampler import sampling_of
from silmm.records import INDEX, Prompt, atomic_dir, read_jsonl, write_table
from silmm.settings import Images
from silmm.stages import promises, worlds
from silmm.stages.picture_file import picture_writer
from silmm.stages.pictures import pixels_of
from silmm.stages.runtime import prepare, progress
from silmm.tensor_files import saving


def blocks_of(prompts: Sequence[Prompt], shard: tuple[int, int], size: int) -> list[Sequence[Prompt]]:
    """The prompts of shard (index, count): every count-th block of so many."""
    index, count = shard
    return [prompts[i : i + size] for i in range(index * size, len(prompts), count * size)]


def run(
    settings: Images,
    *,
    ckpt: Path,
    prompts: Path,
    seed: int,
    iteration: int,
    shard: tuple[int, int],
    out: Path,
    threads: int = 1,
) -> None:
    """Draw; write `pictures.zip` (PNGs), `representations.safetensors` (tokens `[n, L]`, a row a picture, of an LMM
    that draws them; a continuous LMM's features `[n, Q, D]`, a row a sample) and `index.parquet` (row order)."""
    prepare(threads)
    policy = models.load(ckpt)
    mine = blocks_of(read_jsonl(prompts, Prompt), shard, worlds.of(policy).block)
    if policy.images == "discrete" and settings.noises > 1:
        raise InputError(f"images.noises is {settings.noises}: must be 1 for a discrete LMM (it has no decoder noise)")
    rows: list[tuple[str, int, int]] = []
    arrays: dict[str, list[np.ndarray]] = defaultdict(list)
    sampling = sampling_of(settings)
    with atomic_dir(out, "silmm images") as folder, picture_writer(folder) as add_picture:
        for block in progress(mine, "images"):
            keys = [[(seed, "images", iteration, p.id, k) for k in range(settings.n)] for p in block]
            try:
                drawn = policy.draw([p.prompt for p in block], keys, sampling)
            except TextError:
                raise
            except ValueError as error:  # settings that do not fit this LMM
                raise InputError(f"{ckpt}: {error}") from None
            promises.pictures(drawn, len(block), settings.n, sampling, policy, ckpt)
            for name, array, dtype in (("tokens", drawn.tokens_PNL, np.int32), ("feats", drawn.feats_PNQD, None)):
                if array is not None:
                    arrays[name].append(array.reshape(-1, *array.shape[2:]).astype(dtype or array.dtype))
            pictures = [(p.id, k, m) for p in block for k in range(settings.n) for m in range(settings.noises)]
            for picture, pixels in zip(pictures, pixels_of(policy, drawn), strict=True):
                add_picture(_file(picture), pixels)
            rows += pictures
        with saving(folder / "representations.safetensors"):
            save_file(_stacked(arrays), str(folder / "representations.safetensors"))
        prompt_ids, samples, noises = zip(*rows, strict=True) if rows else ((), (), ())
        columns = {"prompt_id": prompt_ids, "sample": samples, "noise": noises, "file": [_file(row) for row in rows]}
        write_table(folder / "index.parquet", columns, INDEX)


def _file(picture: tuple[str, int, int]) -> str:
    """`<prompt>_<sample>.png`, and the number of the decoder's noise where a sample has several pictures."""
    prompt_id, sample, noise = picture
    return f"{prompt_id}_{sample}.png" if not noise else f"{prompt_id}_{sample}_{noise}.png"


def _stacked(arrays: dict[str, list[np.ndarray]]) -> dict[str, np.ndarray]:
    """Rows of all blocks; an empty shard has no tokens, and no features."""
    empty = {"tokens": np.zeros((0, 0), np.int32), "feats": np.zeros((0, 0, 0), np.float32)}
    return {name: np.concatenate(blocks) for name, blocks in arrays.items()} or empty
