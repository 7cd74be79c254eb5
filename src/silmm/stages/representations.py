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


def read_shard(folder: Path, name: str = "tokens") -> tuple[list[Key], np.ndarray]:
    """(prompt_id, sample) and the named array of one image folder, rows in the same order: `tokens` int64 `[n, L]`, or
    `feats` float32 `[n, Q, D]`, which a continuous LMM's images have.

    Raises RecordError for a file that is missing, damaged, without the array, or not as long as the index.
    """
    index = read_table(folder / "index.parquet", INDEX)
    file = folder / "representations.safetensors"
    try:
        rows = load_file(str(file))[name]
    except FileNotFoundError:
        raise RecordError(f"{file}: no such file; run the stage that makes it (silmm images)") from None
    except (SafetensorError, KeyError) as error:
        raise RecordError(f"{file}: not a safetensors file with `{name}` ({error}); re-run silmm images") from None
    if len(rows) != index.num_rows:
        raise RecordError(f"{file}: {len(rows)} rows, but index.parquet beside it has {index.num_rows}")
    if not np.isfinite(rows).all():
        raise RecordError(f"{file}: `{name}` holds numbers that are not finite; re-run silmm images")
    keys = list(zip(index["prompt_id"].to_pylist(), index["sample"].to_pylist(), strict=True))
    return keys, rows.astype(np.int64) if name == "tokens" else rows


def read_features(folders: Sequence[Path]) -> dict[Key, np.ndarray]:
    """Features `[Q, D]` by (prompt_id, sample) over all shards; a sample in two shards is an error."""
    return _by_key(folders, "feats")


def read_tokens(folders: Sequence[Path]) -> dict[Key, np.ndarray]:
    """Tokens `[L]` by (prompt_id, sample) over all shards; a sample in two shards is an error."""
    return _by_key(folders, "tokens")


def _by_key(folders: Sequence[Path], name: str) -> dict[Key, np.ndarray]:
    out: dict[Key, np.ndarray] = {}
    for folder in folders:
        keys, rows = read_shard(folder, name)
        for key, row in zip(keys, rows, strict=True):
            if key in out:
                raise RecordError(f"{folder}: sample {key[1]} of prompt {key[0]} is in another shard too")
            out[key] = row
    return out
