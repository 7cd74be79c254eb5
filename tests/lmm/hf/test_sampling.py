"""How a family draws is said once, and what the configs say is the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from silmm import lmm as models
from silmm.arms import ADOPTED, plan
from silmm.forecast import configs
from silmm.lmm.hf.checkpoint import family_of
from silmm.settings import Images, check
from silmm.stages.sampler import READ

ROOT = Path(__file__).parents[3]
PAPER = {"dreamllm": "dreamllm", "emu3": "emu3", "janus": "janus_pro", "seed_llama": "seed_llama"}


@pytest.mark.parametrize("family", ADOPTED)
def test_the_configs_draw_as_the_family_does(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With config/default.yaml alone, and in the paper's run."""
    monkeypatch.chdir(ROOT)
    own = family_of(family).sampling
    assert set(own) == set(READ["continuous" if family == "dreamllm" else "discrete"])
    check(Images(**own))
    for files in ([], [Path(f"config/paper/{PAPER[family]}.yaml")]):
        config = configs.read(files)
        config = {**config, family: {"adopt": {"weights": "w"}, **config[family]}, "lmms": [family]}
        drawn = plan(config, family).settings["images"]
        assert {name: getattr(drawn, name) for name in own} == dict(own)


@pytest.mark.parametrize(
    ("family", "published"),
    [
        ("janus", {"temperature": 1.0, "guidance": 5.0, "top_p": 1.0, "top_k": 0}),
        ("emu3", {"temperature": 1.0, "guidance": 3.0, "top_p": 1.0, "top_k": 2048}),
        ("seed_llama", {"temperature": 1.0, "guidance": 1.0, "top_p": 0.5, "top_k": 0}),
        ("shapeworld_discrete", {}),
        ("unheard_of", {}),  # refused when it is loaded
    ],
)
def test_a_checkpoint_is_drawn_as_its_family_s_authors_do(
    family: str, published: dict[str, float], tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(f'{{"silmm_family": "{family}"}}')
    assert dict(models.sampling_of(tmp_path)) == published
