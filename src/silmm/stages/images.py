"""Step 2: N diverse images of each prompt, by nucleus sampling of visual tokens (paper section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from silmm import lmm as models
from silmm.records import INDEX, Prompt, atomic_dir, read_jsonl, write_table
from silmm.settings import Images
from silmm.stages.representations import PROMPT_BLOCK as BLOCK
from silmm.stages.runtime import prepare, progress


def shard_of(prompts: Sequence[Prompt], shard: tuple[int, int]) -> list[Prompt]:
    """The prompts of shard (index, count): whole blocks, in turn."""
    index, count = shard
    return [p for i, p in enumerate(prompts) if i // BLOCK % count == index]


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
    """Draw; write PNGs, `representations.safetensors` (tokens `[n, L]`) and `index.parquet` (row order)."""
    prepare(threads)
    policy = models.load(ckpt)
    mine = shard_of(read_jsonl(prompts, Prompt), shard)
    rows: list[tuple[str, int]] = []
    tokens: list[np.ndarray] = []
    with atomic_dir(out) as folder:
        for start in progress(range(0, len(mine), BLOCK), "images"):
            block = mine[start : start + BLOCK]
            keys = [[(seed, "images", iteration, p.id, k) for k in range(settings.n)] for p in block]
            drawn = policy.draw(
                [p.prompt for p in block], keys, temperature=settings.temperature, top_p=settings.top_p
            ).reshape(len(block) * settings.n, -1)
            names = [(p.id, k) for p in block for k in range(settings.n)]
            for (prompt_id, k), pixels in zip(names, policy.render(drawn), strict=True):
                Image.fromarray(pixels).save(folder / f"{prompt_id}_{k}.png", compress_level=1)
            rows += names
            tokens.append(drawn)
        width = tokens[0].shape[1] if tokens else 0
        stacked = np.concatenate(tokens) if tokens else np.zeros((0, width))
        save_file({"tokens": stacked.astype(np.int32)}, str(folder / "representations.safetensors"))
        files = [f"{prompt_id}_{k}.png" for prompt_id, k in rows]
        columns = {"prompt_id": [r[0] for r in rows], "sample": [r[1] for r in rows], "file": files}
        write_table(folder / "index.parquet", columns, INDEX)
