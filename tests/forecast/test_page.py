"""`silmm plan`, as a user types it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from silmm.cli import main
from tests.lmm.emu3 import publisher

SIZES = re.compile(r"(\d+\.\d+)  (fits|TOO MUCH)")


def planned(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["plan", *words]) == 0
    return capsys.readouterr().out


def written(workplace: Path, text: str) -> str:
    (workplace / "own.yaml").write_text(text)
    return "own.yaml"


@pytest.mark.parametrize(
    ("name", "repository"), [("janus_pro", "deepseek-community/Janus-Pro-7B"), ("emu3", "BAAI/Emu3-Chat-hf")]
)
def test_before_anything_is_downloaded(
    workplace: Path, capsys: pytest.CaptureFixture[str], name: str, repository: str
) -> None:
    """What is to be made is known from the config alone, and what is missing is said, with where it is."""
    out = planned(capsys, f"config/paper/{name}.yaml")
    assert re.search(r"images +750 jobs +1,440,000 +images +time unmeasured", out)
    assert re.search(r"prompts +3 jobs +48,000 ", out)
    assert re.search(rf"download .*{repository}; its config.json alone is enough to plan", out)
    assert "memory\n  unknown" in out


def test_config_json_alone_is_enough(workplace: Path, capsys: pytest.CaptureFixture[str], tiny_weights: Path) -> None:
    whole = workplace / "weights"
    shutil.copytree(tiny_weights, whole)
    with_files = planned(capsys, "config/paper/janus_pro.yaml", "--memory", "80")
    for file in (whole / "Janus-Pro-7B").iterdir():
        if file.name != "config.json":
            file.unlink()
    alone = planned(capsys, "config/paper/janus_pro.yaml", "--memory", "80")
    assert "parameters by the files" in with_files and "parameters by config.json" in alone
    counts = [re.search(r"([\d,]+) parameters by", out).group(1) for out in (with_files, alone)]  # type: ignore[union-attr]
    assert counts[0] == counts[1] != "0"
    assert SIZES.findall(with_files) == SIZES.findall(alone)


def test_the_publisher_s_own_layout_takes_the_same(
    workplace: Path, capsys: pytest.CaptureFixture[str], tiny_weights: Path
) -> None:
    """Emu3 with its VQ tokenizer beside it: whole, and config.json alone."""
    from silmm.lmm.emu3 import tiny

    tiny.build(workplace / "converted", specials=publisher.SPECIALS)
    small = written(workplace, "emu3: {adopt: {side: 32}}")
    outs = []
    for write in (shutil.copytree, publisher.write):
        for name in ("Emu3-Gen-hf", "Emu3-Chat-hf"):
            write(workplace / "converted", workplace / "weights" / name)
        outs.append(planned(capsys, "config/paper/emu3.yaml", small, "--memory", "80"))
        shutil.rmtree(workplace / "weights" / "Emu3-Gen-hf")
        shutil.rmtree(workplace / "weights" / "Emu3-Chat-hf")
    assert SIZES.findall(outs[0]) == SIZES.findall(outs[1]) != []
    counts = [re.findall(r"([\d,]+ parameters by the files: .*)", out) for out in outs]
    assert counts[0] == counts[1] and len(counts[0]) == 2


def test_half_a_download_is_named(workplace: Path, capsys: pytest.CaptureFixture[str], tiny_weights: Path) -> None:
    shutil.copytree(tiny_weights, workplace / "weights")
    shard = sorted((workplace / "weights" / "Emu3-Gen-hf").glob("*.safetensors"))[-1]
    shard.write_bytes(shard.read_bytes()[:-7])
    out = planned(capsys, "config/paper/emu3.yaml", written(workplace, "emu3: {adopt: {side: 32}}"))
    assert re.search(r"gen: weights/Emu3-Gen-hf: not to be loaded: .*a download was cut off", out)
    assert re.search(r"chat: weights/Emu3-Chat-hf: \d files", out)


def test_what_does_not_fit_comes_with_a_setting_that_helps(
    workplace: Path, capsys: pytest.CaptureFixture[str], tiny_weights: Path
) -> None:
    """Following the advice makes it fit."""
    shutil.copytree(tiny_weights, workplace / "weights")
    large = written(workplace, "janus: {adopt: {rows: 4096}, align: {rows: 256}}")
    out = planned(capsys, "config/paper/janus_pro.yaml", large, "--memory", "1.25")
    assert "TOO MUCH" in out
    changes: dict[str, dict[str, int]] = {}
    for section, name, value in re.findall(r"change janus\.(\w+)\.(\w+) from \d+ to (\d+)", out):
        changes.setdefault(section, {})[name] = min(int(value), changes.get(section, {}).get(name, int(value)))
    assert changes
    mended = written(workplace, yaml.safe_dump({"janus": changes}))
    out = planned(capsys, "config/paper/janus_pro.yaml", mended, "--memory", "1.25")
    assert "TOO MUCH" not in out


def test_what_never_fits(workplace: Path, capsys: pytest.CaptureFixture[str], tiny_weights: Path) -> None:
    shutil.copytree(tiny_weights, workplace / "weights")
    out = planned(capsys, "config/paper/janus_pro.yaml", "--memory", "0.5")
    assert "it takes a device with more memory" in out


def test_lmms_of_shapeworld(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = planned(capsys, "config/default.yaml")
    assert out.count("a tiny LMM, trained here: any machine, no GPU") == 2
    assert re.search(r"images +6 jobs +7,680 +images", out)  # 320 prompts, 8 images, 3 iterations; arms share them


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere.yaml"], "nowhere.yaml: no such file: give a config"),
        (["config/README.md"], "config/README.md:3: not YAML"),
        (["own.yaml"], "config: unknown key 'promts'"),
        (["config/default.yaml", "--memory", "none"], "must be a number above 0"),
        (["config/default.yaml", "--devices", "0"], "must be a whole number, at least 1"),
        (["config/default.yaml", "--measured", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_bad_input_is_one_line(
    workplace: Path, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    written(workplace, "promts: {}")
    try:
        code = main(["plan", *words])
    except SystemExit as stopped:
        code = int(str(stopped.code))
    err = capsys.readouterr().err
    assert code == 2 and says in err and err.count("\n") == 1


def test_elsewhere_it_says_where_to_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["plan", "x.yaml"]) == 2
    assert "config/default.yaml: no such file: work in the repository's folder" in capsys.readouterr().err
