"""Reading the representations that step 2 wrote."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from silmm.errors import InputError
from silmm.records import INDEX, RecordError, read_table
from silmm.tensor_files import load
from silmm.typed_json import short

Key = tuple[str, int]  # (prompt_id, sample): what has a score, and what step 5 learns from
Picture = tuple[str, int, int]  # and the number of the decoder's noise: a continuous sample may have several pictures
_EXPECTED = {"tokens": (2, "iu"), "feats": (3, "f")}  # axes and numpy's kinds of numbers
_WORDS = {"tokens": "whole numbers [n, L]", "feats": "floating numbers [n, Q, D]"}


def read_shard(folder: Path, name: str = "tokens") -> tuple[list[Picture], np.ndarray]:
    """What the rows of one array of an image folder are of, and the array: `tokens` int64 `[n, L]`, a row a picture,
    or `feats` `[n, Q, D]`, which a continuous LMM's images have, a row a sample (named by its first picture), in the
    precision that it draws them in.

    Raises RecordError for a file that is missing, damaged, without the array, or not as long as the index.
    """
    pictures = read_index(folder)
    wanted = [picture for picture in pictures if name == "tokens" or picture[2] == 0]
    file = folder / "representations.safetensors"
    hint = "; delete its folder and re-run silmm images"
    try:
        arrays = load(file, load_file)
    except InputError as error:
        raise RecordError(f"{error}{hint}") from None
    if name not in arrays:
        raise RecordError(f"{file}: holds {', '.join(map(short, sorted(arrays)[:4])) or 'nothing'}, not `{name}`{hint}")
    rows, (axes, kinds) = arrays[name], _EXPECTED[name]
    if rows.ndim != axes or rows.dtype.kind not in kinds:
        raise RecordError(f"{file}: `{name}` is {rows.dtype} {list(rows.shape)}: expected {_WORDS[name]}{hint}")
    if len(rows) != len(wanted):
        raise RecordError(f"{file}: `{name}` has {len(rows)} rows, but index.parquet has {len(wanted)}{hint}")
    if not np.isfinite(rows).all():
        raise RecordError(f"{file}: `{name}` holds numbers that are not finite{hint}")
    return wanted, rows.astype(np.int64) if name == "tokens" else rows


def read_index(folder: Path) -> list[Picture]:
    """The pictures of an image folder, in the order of its rows.

    Raises RecordError for a damaged index, or one in which samples differ in their number of pictures.
    """
    file = folder / "index.parquet"
    index = read_table(file, INDEX)
    pictures = list(zip(*(index[name].to_pylist() for name in ("prompt_id", "sample", "noise")), strict=True))
    drawn = Counter(picture[:2] for picture in pictures)
    for key, count in drawn.items():
        if count != max(drawn.values()):
            raise RecordError(
                f"{file}: sample {key[1]} of prompt {key[0]} has {count} of {max(drawn.values())} pictures;"
                " re-run silmm images"
            )
    return pictures


def read_names(folder: Path) -> list[str]:
    """The names of the pictures in an image folder's archive, in the order of its rows."""
    return read_table(folder / "index.parquet", INDEX)["file"].to_pylist()


def read_features(folders: Sequence[Path], wanted: Container[Key] | None = None) -> dict[Key, np.ndarray]:
    """Features `[Q, D]` by (prompt_id, sample) over all shards, of all samples or of wanted ones; a sample in two
    shards is an error."""
    return _by_key(folders, "feats", wanted)


def read_pooled(folders: Sequence[Path], wanted: Container[Key], pooling: str) -> tuple[dict[Key, int], np.ndarray]:
    """Features float32 `[S, ...]` of wanted samples, as `silmm.kernels.features.pool` makes them, and their rows by
    (prompt_id, sample). Only one folder's unpooled features are in memory at a time: those of all are hundreds of
    gigabytes where 7 billion parameters drew them.
    """
    import torch

    from silmm.kernels.features import pool

    rows: dict[Key, int] = {}
    pooled: list[np.ndarray] = []
    for folder in folders:
        pictures, feats = read_shard(folder, "feats")
        for (prompt_id, sample, _), row in zip(pictures, feats, strict=True):
            if (prompt_id, sample) in rows:
                raise RecordError(f"{folder}: sample {sample} of prompt {prompt_id} is in another shard too")
            if (prompt_id, sample) in wanted:
                rows[prompt_id, sample] = len(pooled)
                pooled.append(pool(torch.from_numpy(row)[None], pooling)[0].numpy())
    return rows, np.stack(pooled) if pooled else np.zeros((0, 0), np.float32)


def read_tokens(folders: Sequence[Path], wanted: Container[Key] | None = None) -> dict[Key, np.ndarray]:
    """Tokens `[noises, L]` by (prompt_id, sample) over all shards, of all samples or of wanted ones; a sample in two
    shards is an error. (At the paper's scale all tokens of an Emu3 are 16 GB, those of its pairs one.)"""
    return _by_key(folders, "tokens", wanted)


def check_samples(
    pairs: Path,
    needed: Iterable[Key],
    *,
    prompts: Path,
    known: Container[str],
    images: Sequence[Path],
    drawn: Container[Key],
) -> None:
    """RecordError naming the first sample of the pairs whose prompt is not known, or that was not drawn."""
    for prompt_id, sample in needed:
        if prompt_id not in known:
            raise RecordError(f"{pairs}: prompt {prompt_id} is not in {prompts}; re-run silmm pairs")
        if (prompt_id, sample) not in drawn:
            folders = ", ".join(map(str, images))
            where = f"in none of the folders {folders}; re-run silmm pairs"
            raise RecordError(f"{pairs}: sample {sample} of prompt {prompt_id} is {where}")


def _by_key(folders: Sequence[Path], name: str, wanted: Container[Key] | None) -> dict[Key, np.ndarray]:
    """One row a sample, or the rows of its pictures, in one order however they are sharded."""
    out: dict[Key, np.ndarray] = {}
    seen: set[Key] = set()
    for folder in folders:
        found: dict[Key, list[np.ndarray]] = defaultdict(list)
        pictures, rows = read_shard(folder, name)
        for (prompt_id, sample, _), row in zip(pictures, rows, strict=True):
            if (prompt_id, sample) in seen:
                raise RecordError(f"{folder}: sample {sample} of prompt {prompt_id} is in another shard too")
            if wanted is None or (prompt_id, sample) in wanted:
                found[prompt_id, sample].append(row)
        seen.update(picture[:2] for picture in pictures)
        out |= {key: np.stack(kept) if name == "tokens" else kept[0].copy() for key, kept in found.items()}
    return dict(sorted(out.items()))
