"""A whole iteration of a tiny LMM to damage, and what a refusal must be."""

from __future__ import annotations

import gc
import hashlib
import os
import re
import shutil
from pathlib import Path

import pytest

from silmm import cli
from tests.traps.conftest import Files, ckpt, iteration, tiny, torch_settings

__all__ = ["Site", "ckpt", "iteration", "refusal", "site", "tiny", "torch_settings"]

# What a message ends with, or says on the way: what was expected, or what to do.
REMEDY = re.compile(r"re-run|run the stage|run silmm|make the file again|expected|must be|give |take |choose |download")


class Site:
    """A copy of the iteration's files, and the commands that read them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder, folder / "made"

    def command(self, stage: str) -> list[str]:
        """The words of a command, with tiny settings; what it makes is in `out`."""
        words = COMMANDS[stage].format(site=self.folder, out=self.out).split()
        return [*words, "--out", str(self.out / stage), *self.more(stage)]

    def more(self, stage: str) -> list[str]:
        """Its further outputs."""
        stats = (
            ["--stats", str(self.out / "stats.json")] if stage in ("prompts", "questions", "pairs", "evaluate") else []
        )
        return stats + (["--state", str(self.out / "state")] if stage == "align" else [])

    def contents(self) -> dict[str, str]:
        """Every name under `out`, and a hash of each file."""
        files = sorted(self.out.rglob("*"))
        return {
            str(path.relative_to(self.out)): hashlib.sha256(path.read_bytes() if path.is_file() else b"").hexdigest()
            for path in files
        }


COMMANDS = {
    "prompts": "prompts --ckpt {site}/ckpt --iteration 1 --n 2 --attempts 1",
    "images": "images --ckpt {site}/ckpt --prompts {site}/prompts.jsonl --iteration 1 --n 2",
    "questions": "questions --ckpt {site}/ckpt --prompts {site}/prompts.jsonl --strategy prompt",
    "score": "score --ckpt {site}/ckpt --qa {site}/qa.jsonl --images {site}/images/shard-0",
    "gather": "gather {site}/scores/shard-0.parquet {site}/scores/shard-1.parquet",
    "pairs": "pairs --scores {site}/scores.parquet --qa {site}/qa.jsonl --images {site}/images/shard-0 --iteration 1"
    " --min-gap 0",
    "oracle": "pairs --scores {site}/scores.parquet --qa {site}/qa.jsonl --images {site}/images/shard-0 --iteration 1"
    " --scorer oracle --stats {out}/stats.json --min-gap 0",
    "align": "align --ckpt {site}/ckpt --pairs {site}/pairs.parquet --prompts {site}/prompts.jsonl --qa {site}/qa.jsonl"
    " --images {site}/images/shard-0 {site}/images/shard-1 --iteration 1",
    "audit": "audit --prompts {site}/prompts.jsonl --qa {site}/qa.jsonl --scores {site}/scores.parquet"
    " --images {site}/images/shard-0",
    "evaluate": "evaluate --ckpt {site}/ckpt --pairs {site}/pairs.parquet --prompts {site}/prompts.jsonl"
    " --images {site}/images/shard-0 --n-prompts 8",
    "ask": "ask {site}/photo.png there --ckpt {site}/ckpt",
}


@pytest.fixture
def site(iteration: Files, ckpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Files that a test may damage; `out` holds somebody's file, and what each command may replace."""
    monkeypatch.setattr(os, "environ", os.environ.copy())  # commands set the number of threads
    folder = tmp_path / "run"
    shutil.copytree(iteration.prompts.parent, folder)
    shutil.copytree(ckpt, folder / "ckpt")
    made = Site(folder)
    made.out.mkdir()
    (made.out / "notes").write_text("somebody's")
    for stage in COMMANDS:
        (made.out / stage).mkdir() if stage in ("images", "align") else (made.out / stage).touch()
    return made


def run(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and standard error of a command in this process."""
    capsys.readouterr()
    try:
        code = cli.main(words)
    except SystemExit as stop:
        code = int(stop.code or 0)
    gc.collect()  # a progress bar that nobody closed says its last only now
    return code, capsys.readouterr().err


def refusal(words: list[str], names: Path | str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a command ends: exit code 2, the file, what was found, what is expected or to be done."""
    code, said = run(words, capsys)
    errors = [line for line in said.splitlines() if ": error: " in line]
    assert code == 2, said
    assert len(errors) == 1, said
    assert said.rstrip("\n").endswith(errors[0])
    assert "Traceback" not in said
    message = errors[0]
    assert str(names) in message
    assert REMEDY.search(message), message
    assert message.isprintable()
    assert len(message) < 500 + 4 * len(str(names)), message
    return message
