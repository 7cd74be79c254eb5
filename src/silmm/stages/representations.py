"""Reading the representations that step 2 wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from silmm.records import INDEX, RecordError, read_table

Key = tuple[str, int]  # (prompt_id, sample)
PROMPT_BLOCK = 64  # a shard is whole blocks of so many prompts, so that sharding does not change what is computed


def read_shard(folder: Path) -> tuple[list[Key], np.ndarray]:
    """(prompt_id, sample) and tokens int64 `[n, L]` of one image folder, rows in the same order."""
    index = read_table(folder / "index.parquet", INDEX)
    file = folder / "representations.safetensors"
    try:
        tokens = load_file(str(file))["tokens"].astype(np.int64)
    except FileNotFoundError:
        raise RecordError(f"{file}: no such file; run the stage that makes it (silmm images)") from None
    except (SafetensorError, KeyError) as error:
        raise RecordError(f"{file}: not a safetensors file with `tokens` ({error}); re-run silmm images") from None
    if len(tokens) != index.num_rows:
        raise RecordError(f"{file}: {len(tokens)} rows, but index.parquet beside it has {index.num_rows}")
    keys = list(zip(index["prompt_id"].to_pylist(), index["sample"].to_pylist(), strict=True))
    return keys, tokens


def read_tokens(folders: Sequence[Path]) -> dict[Key, np.ndarray]:
    """Tokens `[L]` by (prompt_id, sample) over all shards; a sample in two shards is an error."""
    out: dict[Key, np.ndarray] = {}
    for folder in folders:
        keys, tokens = read_shard(folder)
        for key, row in zip(keys, tokens, strict=True):
            if key in out:
                raise RecordError(f"{folder}: sample {key[1]} of prompt {key[0]} is in another shard too")
            out[key] = row
    return out
