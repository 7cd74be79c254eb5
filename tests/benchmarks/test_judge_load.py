"""A judge is known by its folder; what will not do is refused in one line that says what would."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from silmm.benchmarks.judges import sources
from silmm.benchmarks.judges.load import KINDS, load
from silmm.benchmarks.judges.tiny import BUILDERS, build
from silmm.errors import InputError
from silmm.report.benchmark_table import standing
from silmm.sources import source_files

pytestmark = pytest.mark.xdist_group("judges")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("clip", tmp_path_factory.mktemp("judges") / "clip")


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def change_config(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


def change_weights(folder: Path, change: Callable[[dict], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def pickles_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def cut_off(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def missing(folder: Path) -> None:
    change_weights(folder, lambda tensors: tensors.pop("visual_projection.weight"))


def unexpected(folder: Path) -> None:
    change_weights(folder, lambda tensors: tensors.update({"other.weight": tensors["visual_projection.weight"].copy()}))


def misshapen(folder: Path) -> None:
    change_config(folder, projection_dim=20)


def more_tokens(folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["another"])
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (pickles_only, "no safetensors weights (pickled ones, *.bin, may run code): take a revision that has them"),
        (no_weights, "no safetensors weights: take a revision that has them"),
        (cut_off, "model.safetensors: .* a download was cut off; repeat it"),
        (missing, "visual_projection.weight is missing: expected the weights of CLIPModel, all of them"),
        (unexpected, "other.weight is unexpected: expected the weights of CLIPModel, all of them"),
        (misshapen, r"_projection.weight is \[24, 32\], not \[20, 32\]"),
        (lambda folder: (folder / "config.json").unlink(), "config.json: no such file"),
        (
            lambda folder: (folder / "tokenizer.json").unlink(),
            "no tokenizer (tokenizer.json, vocab.json, vocab.txt): download it again",
        ),
        (more_tokens, "tokens, weights for [0-9]+: of different models"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "nothing that CLIPImageProcessorPil can read"),
        (lambda folder: change_config(folder, model_type="gpt2"), "model_type is 'gpt2', no judge that compares a"),
        (lambda folder: change_config(folder, model_type=["x"]), "model_type is .'x'., no judge that compares a"),
    ],
)
def test_what_will_not_do_is_refused(folder: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(folder)
    with pytest.raises(InputError, match=message.replace("(", r"\(").replace(")", r"\)").replace("*.bin", r"\*.bin")):
        load("clip", str(folder))


def test_pictures_of_old_buffers_are_no_weights(folder: Path) -> None:
    name = "text_model.embeddings.position_ids"
    change_weights(folder, lambda tensors: tensors.update({name: tensors["visual_projection.weight"].copy()}))
    load("clip", str(folder))


def test_a_judge_of_another_role_is_refused_with_those_that_would_do(whole: Path) -> None:
    with pytest.raises(
        InputError, match="model_type is 'clip', no judge that answers questions .vqa.: expected one of"
    ):
        load("vqa", str(whole))
    with pytest.raises(InputError, match="judge smell: expected one of vqa, clip, detector, depth, sentences"):
        load("smell", str(whole))


@pytest.mark.parametrize("source", ["nowhere", "a b/c", "../up/and/away", "owner/name@", ""])
def test_neither_folder_nor_hub_id(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"judge {source!r}: neither a folder nor a hub id"):
        load("clip", source)


def test_without_a_network_the_way_to_fetch_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    wanted = (
        "owner/name: no such folder, .* run `hf download owner/name --revision v2 --local-dir FOLDER`, and give FOLDER"
    )
    with pytest.raises(InputError, match=wanted) as caught:
        load("clip", "owner/name@v2")
    assert "\n" not in str(caught.value)


def test_the_hub_gives_a_commit(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = shutil.copytree(whole, tmp_path / "0123456789abcdef")
    asked: list[tuple] = []

    def snapshot(name: str, *, revision: str | None, allow_patterns: list, ignore_patterns: list) -> str:
        asked.append((name, revision))
        return str(commit)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_commits", lambda *given, **named: [])
    assert load("clip", "openai/clip@refs/pr/15").card[2:4] == ("openai/clip@refs/pr/15", "0123456789abcdef")
    assert asked == [("openai/clip", "refs/pr/15")]
    assert not any(pattern.endswith((".py", ".bin", ".pt")) for pattern in sources.WANTED)


@pytest.mark.parametrize(
    ("revision", "commit", "official"),
    [
        ("", "c2", True),
        ("@main", "c2", True),
        ("@c1", "c1", True),  # an older one of the main branch
        ("@v1.0", "c1", True),  # a tag of it
        ("@refs/pr/7", "f7", False),  # proposed by anybody
        ("@f7", "f7", False),  # the same, by its hash
        ("@try", "t1", False),  # another branch
        ("@refs/pr/8", "c2", True),  # accepted: it is the main branch's now
    ],
)
def test_only_the_main_branch_is_the_official_judge(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, revision: str, commit: str, official: bool
) -> None:
    name = "openai/clip-vit-base-patch32"
    folder = shutil.copytree(whole, tmp_path / commit)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **named: str(folder))

    def commits(api: Any, name: str, *, revision: str) -> list[SimpleNamespace]:
        assert revision == "main"
        return [SimpleNamespace(commit_id=one) for one in ("c2", "c1", "c0")]

    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_commits", commits)
    card = load("clip", name + revision).card
    assert card.source == (name if official else name + revision) and card.revision == commit
    assert standing(card.source, name) == ("official" if official else "another judge")


def test_a_commit_that_the_hub_does_not_vouch_for_is_not_official(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(whole, tmp_path / "c1")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **named: str(folder))  # from the cache
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert sources.find("openai/clip@c1").name == "openai/clip@c1"
    assert sources.find("openai/clip").name == sources.find("openai/clip@main").name == "openai/clip"


def test_a_folders_revision_is_its_content(whole: Path, folder: Path) -> None:
    first = sources.find(str(whole))
    assert sources.find(str(folder)).revision == first.revision and first.revision.startswith("sha256:")
    change_weights(folder, lambda tensors: tensors["visual_projection.weight"].__imul__(1.5))
    assert sources.find(str(folder)).revision != first.revision


def test_every_kind_has_a_tiny_one() -> None:
    assert set(BUILDERS) == set(KINDS)


def test_what_judges_see_concerns_every_judges_source() -> None:
    files = {path.name for path in source_files("benchmarks.judges.load")}
    assert {"blip_vqa.py", "qwen_vl.py", "clip.py", "mask2former.py", "owl.py", "dpt.py", "mpnet.py"} <= files


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_loaded_for_its_role(kind: str, tmp_path: Path) -> None:
    judge = load(KINDS[kind].role, str(build(kind, tmp_path / kind)))
    assert judge.card.role == KINDS[kind].role and judge.card.source == kind
