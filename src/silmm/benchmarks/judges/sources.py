"""Where a judge's files are: a folder, or a model on the Hugging Face hub, fetched once; and which version it is."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

from silmm.errors import InputError
from silmm.weight_files import INDEX, read_header, weight_files

HUB_ID = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?", re.ASCII)
WANTED = ["*.json", "*.txt", "*.model", "*.jinja", "*.safetensors"]  # no code, no pickles
_CHUNK = 1 << 24


class Source(NamedTuple):
    """A judge's files."""

    folder: Path
    name: str  # hub id, with @revision where that is none of the main branch's; or the folder's own name
    revision: str  # the hub's commit, or a hash over the files


def find(source: str) -> Source:
    """The files of a judge.

    Args:
        source: a folder, or `owner/name` or `owner/name@revision` on the hub.

    Raises InputError where there is neither, or the hub cannot be reached, or there are no safetensors.
    """
    folder = Path(source)
    if source and folder.is_dir():
        weights = _weights(folder, source)
        return Source(folder, folder.resolve().name, _hash(folder, weights))
    found = HUB_ID.fullmatch(source)
    if not found:
        raise InputError(f"judge {source!r}: neither a folder nor a hub id (owner/name[@revision]): give one of them")
    folder = _fetch(found["name"], found["revision"])
    _weights(folder, source)
    commit = folder.name  # the hub's cache names its folders by their commits
    of_main = found["revision"] in (None, "main") or _is_of_main(found["name"], commit)
    return Source(folder, found["name"] if of_main else source, commit)


def _is_of_main(name: str, commit: str) -> bool:
    """Whether the owner of a model put a commit into it: anyone may propose one, which has a name of the form
    refs/pr/N and is had by its hash, too. False where the hub cannot be asked."""
    from huggingface_hub import HfApi

    try:
        return any(one.commit_id == commit for one in HfApi().list_repo_commits(name, revision="main"))
    except Exception:  # of many kinds: of the network, of the hub
        return False


def _fetch(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=WANTED, ignore_patterns=["*/*"]))
    except Exception as error:  # of many kinds: of the network, of the hub, of the cache
        reason = " ".join(str(error).split())[:160]
        at = f" --revision {revision}" if revision else ""
        raise InputError(
            f"{name}: no such folder, and the hub did not give it ({reason}): where there is a network, run"
            f" `hf download {name}{at} --local-dir FOLDER`, and give FOLDER"
        ) from None


def _weights(folder: Path, source: str) -> list[Path]:
    if not any(folder.glob("*.safetensors")) and not (folder / INDEX).is_file():
        pickles = " (pickled ones, *.bin, may run code)" if any(folder.glob("*.bin")) else ""
        raise InputError(
            f"{source}: no safetensors weights{pickles}: take a revision that has them (often owner/name@refs/pr/N,"
            " which counts as another judge), or write them with transformers' save_pretrained"
        )
    files = weight_files(folder)
    for file in files:
        read_header(file)
    return files


def _hash(folder: Path, weights: list[Path]) -> str:
    """`sha256:...` over the settings' and the weights' names and whole content."""
    digest = hashlib.sha256()
    texts = [path for pattern in WANTED[:-1] for path in folder.glob(pattern) if path.is_file()]
    for file in [*sorted(texts), *weights]:
        digest.update(f"{file.name} {file.stat().st_size}\n".encode())
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"
