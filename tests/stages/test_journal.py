"""Steps 1 and 3, interrupted between two blocks, go on with the texts that they have; never with those of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from silmm import lmm as models
from silmm.records import Prompt, write_jsonl
from silmm.settings import Prompts, Questions
from silmm.stages import prompts, questions
from silmm.stages.journal import BLOCK
from tests.traps.conftest import training_prompt

N = 2 * BLOCK + 5


class Stop(Exception):
    """Stands in for a kill."""


class Author:
    """Writes valid prompts, and asks one question of each; ends when it has been called too often."""

    world = "shapeworld"

    def __init__(self, calls: int = 1000) -> None:
        self.calls, self.rows = calls, 0

    def _begin(self, rows: int) -> None:
        self.calls -= 1
        if self.calls < 0:
            raise Stop
        self.rows += rows

    def write(self, names: Sequence[str], keys: Sequence[tuple], *, temperature: float) -> list[str]:
        self._begin(len(names))
        return [training_prompt(*key, subcategory=name) for name, key in zip(names, keys, strict=True)]

    def ask(self, prompts: Sequence[str], *, max_tokens: int) -> list[str]:
        self._begin(len(prompts))
        return ["is there a red circle ?" for _ in prompts]


Step = Callable[..., dict[str, bytes]]


@pytest.fixture(params=["prompts", "questions"])
def step(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Step:
    """Run the step with an author, and give what it wrote."""
    ckpt = tmp_path / "ckpt"
    ckpt.mkdir()
    rows = [Prompt(f"p{i:05d}", "attribute", "color", f"a red circle {i}", 0) for i in range(N)]
    write_jsonl(tmp_path / "given.jsonl", rows)

    def run(author: Author, folder: str, state: Path | None, **changes: Any) -> dict[str, bytes]:
        monkeypatch.setattr(models, "load", lambda _: author)
        monkeypatch.setattr(models, "name_of", lambda _: "discrete")
        out, stats = tmp_path / folder / "out.jsonl", tmp_path / folder / "stats.json"
        if request.param == "prompts":
            keys = {"seed": 0, "iteration": 1} | changes
            prompts.run(Prompts(n=N), ckpt=ckpt, out=out, stats=stats, state=state, **keys)
        else:
            settings = Questions(max_tokens=changes.get("seed", 0) + 9)
            questions.run(settings, ckpt=ckpt, prompts=tmp_path / "given.jsonl", out=out, stats=stats, state=state)
        return {path.name: path.read_bytes() for path in (out, stats)}

    return run


def test_it_goes_on_where_it_was(step: Step, tmp_path: Path) -> None:
    whole = step(Author(), "whole", None)
    state = tmp_path / "a/state/step"
    with pytest.raises(Stop):
        step(Author(calls=2), "a", state)
    assert len(list(state.rglob("*.json"))) == 2
    author = Author()
    assert step(author, "a", state) == whole
    first = Author()
    step(first, "b", None)
    assert author.rows == first.rows - 2 * BLOCK
    assert not (tmp_path / "a/state").exists()


def test_texts_of_other_settings_are_not_taken(step: Step, tmp_path: Path) -> None:
    state = tmp_path / "a/state/step"
    with pytest.raises(Stop):
        step(Author(calls=2), "a", state)
    author, alone = Author(), Author()
    assert step(author, "a", state, seed=1) == step(alone, "b", None, seed=1)
    assert author.rows == alone.rows


@pytest.mark.parametrize("content", ["", '["a"', '["a", "b"]', '{"a": 1}', "null", "\xff"])
def test_a_damaged_block_is_written_again(content: str, step: Step, tmp_path: Path) -> None:
    whole = step(Author(), "whole", None)
    state = tmp_path / "a/state/step"
    with pytest.raises(Stop):
        step(Author(calls=2), "a", state)
    next(iter(state.rglob("*-0.json"))).write_bytes(content.encode("latin-1"))
    assert step(Author(), "a", state) == whole


def test_what_else_is_in_the_state_folder_stays(step: Step, tmp_path: Path) -> None:
    (tmp_path / "a/state").mkdir(parents=True)
    (tmp_path / "a/state/state.safetensors").touch()
    step(Author(), "a", tmp_path / "a/state/step")
    assert [path.name for path in (tmp_path / "a/state").iterdir()] == ["state.safetensors"]
