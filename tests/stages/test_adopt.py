"""Adopting pretrained weights: the settings reach the family under its own names, and what it cannot have is refused.

That a checkpoint comes out, and is a policy, is shown by tests/lmm and by the tiny workflows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from silmm.errors import InputError
from silmm.settings import Adopt
from silmm.stages import adopt


@pytest.mark.parametrize(
    ("family", "settings", "weights"),
    [
        ("janus", Adopt(weights="a"), ["a"]),
        ("emu3", Adopt(weights="a"), ["a", "a"]),
        ("emu3", Adopt(weights="a", chat="b"), ["a", "b"]),
        ("seed_llama", Adopt(weights="a", visual="b", diffusion="c"), ["a", "b", "c"]),
    ],
)
def test_folders_by_role(family: str, settings: Adopt, weights: list[str]) -> None:
    found = adopt.weights_of(settings, family)
    assert [str(path) for path in found.values()] == weights
    assert tuple(found) == adopt.checkpoint.family_of(family).roles


def test_settings_reach_the_family(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    got: list[Any] = []
    monkeypatch.setattr(adopt.checkpoint, "adopt", lambda *words, **named: got.extend((words, named)))
    settings = Adopt(weights="a", rank=2, alpha=3, dtype="float32", rows=5)
    adopt.run(settings, family="emu3", seed=7, out=tmp_path / "ckpt")
    adopt.run(Adopt(weights="a", side=256), family="emu3", seed=7, out=tmp_path / "ckpt")
    assert got[0] == ("emu3", adopt.weights_of(settings, "emu3"), tmp_path / "ckpt")
    assert got[1] == {"rank": 2, "alpha": 3, "dtype": "float32", "rows": 5, "seed": 7, "options": {}}
    assert got[3]["options"] == {"side": 256}
    seed = Adopt(weights="a", visual="b", diffusion="c", steps=4, guidance=2.5, template="llama2")
    adopt.run(seed, family="seed_llama", seed=7, out=tmp_path / "ckpt")
    assert got[5]["options"] == {"steps": 4, "guidance": 2.5, "template": "llama2"}


@pytest.mark.parametrize(
    ("family", "settings", "says"),
    [
        ("janus", Adopt(), "adopt.weights is empty: must be a folder"),
        ("janus", Adopt(weights="a", chat="b"), "adopt.chat is 'b': janus has no use for it: leave it out"),
        ("janus", Adopt(weights="nowhere"), "nowhere: no such folder"),
        ("seed_llama", Adopt(weights="a", visual="b"), "adopt.diffusion is empty: must be a folder"),
        ("seed_llama", Adopt(weights="nowhere", visual="b", diffusion="c"), "nowhere: no such folder"),
        ("emu3", Adopt(weights="nowhere"), "nowhere: no such folder"),
    ],
)
def test_what_will_not_do_is_named(family: str, settings: Adopt, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        adopt.run(settings, family=family, seed=0, out=tmp_path / "ckpt")
    assert str(caught.value).startswith(says)
    assert not (tmp_path / "ckpt").exists()
