"""Every function that reads what others wrote, with valid files to start from."""

from __future__ import annotations

import base64
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from hypothesis import strategies as st
from PIL import Image

from silmm import arms, config_files, picture_reader
from silmm import lmm as models
from silmm.align import state
from silmm.benchmarks import geneval2, pictures
from silmm.benchmarks.dpg.questions import read_questions
from silmm.benchmarks.geneval import prompts as geneval
from silmm.benchmarks.prompt_files import prompts_of
from silmm.benchmarks.tifa.questions import read_questions as tifa_questions
from silmm.errors import InputError
from silmm.lmm.hf import checkpoint, folder, pickled, tiktoken_file
from silmm.open_language import drafts
from silmm.open_language import questions as plain
from silmm.records import AUDIT, EVAL, INDEX, PAIRS, SCORES, Prompt, PromptQuestions, read_json, read_jsonl, read_table
from silmm.report import cost, tables
from silmm.report.summarize import SUMMARY
from silmm.schemas import SUBCATEGORIES, AlignStats, EvalStats, PairStats, PromptStats, QuestionStats
from silmm.shapeworld import exam, language
from silmm.shapeworld import questions as shapes
from silmm.stages import journal
from silmm.stages.picture_file import read_pictures
from silmm.stages.representations import read_shard
from tests.fuzz.mutations import changed_bytes, changed_value, json_file, json_lines
from tests.traps.conftest import Files
from tests.workflow.conftest import ROOT

STATS: dict[type, dict[str, Any]] = {
    PromptStats: {"kept": 3, "drafts": 5, "dropped": {"invalid": 2}},
    QuestionStats: {"prompts": 3, "without_questions": 1, "questions": 5, "malformed": 1, "duplicate": 0}
    | {"malformed_share": 0.2, "coverage": None, "fallback": 0},
    PairStats: {"prompts": 3, "unused": 0, "tied": 1, "paired": 2, "drafts": 4, "kept": 3, "dropped": {"tie": 1}},
    AlignStats: {"pairs": 2, "gamma": 1.0, "spread": 0.1}
    | {"spread_5": 0.1, "spread_50": 0.1, "spread_95": 0.2, "argument": 0.1},
    EvalStats: {"metrics": [{"metric": "m", "sampler": "t1.0", "category": "color", "value": 0.5, "n": 2}]},
}
ADOPTED = {
    "silmm_family": "janus", "weights": {"model": "none"}, "fingerprint": {"model": "0" * 32},
    "lora": {"rank": 4, "alpha": 8}, "dtype": "float32", "rows": 2, "options": {},
}  # fmt: skip
SAYS = [
    "is there a red circle ?",
    "kettle -> Is there a kettle?",
    "Prompt: 'a red kettle'",
    "a red circle and a blue square",
]
CSV = ",".join(SUMMARY) + "\ndiscrete,base,0,0,t1.0,core,oracle_prompt,0.5,0.4,0.6,20\n"
TSV = "s\th:m:s\tmax_rss\tcpu_time\n1.5\t0:00:01\t200.1\t1.2\n"


class Reader(NamedTuple):
    """What reads, where, and what may stand there."""

    read: Callable[[Path], object]  # of the file
    content: st.SearchStrategy[bytes]
    file: Path


def readers(made: Files, ckpt: Path, tmp: Path) -> Iterator[tuple[str, Reader]]:
    """All of them, by name; `tmp` is a folder to work in."""
    for name, kind in (("prompts", Prompt), ("qa", PromptQuestions)):
        rows = [json.loads(line) for line in getattr(made, name).read_text().splitlines()[:4]]
        yield name, Reader(lambda file, kind=kind: read_jsonl(file, kind), json_lines(rows), tmp / f"{name}.jsonl")
    for kind, value in STATS.items():
        name = kind.__name__
        yield name, Reader(lambda file, kind=kind: read_json(file, kind), json_file(value), tmp / f"{name}.json")
    shard = made.images[0]
    files = [made.scores, made.pairs, shard / "index.parquet"]
    parquet = changed_bytes([file.read_bytes() for file in files])
    for name, table in {"scores": SCORES, "pairs": PAIRS, "index": INDEX, "eval": EVAL, "audit": AUDIT}.items():
        yield name, Reader(lambda file, table=table: read_table(file, table), parquet, tmp / f"{name}.parquet")
    images = Path(shutil.copytree(shard, tmp / "images"))
    content = changed_bytes([(shard / "representations.safetensors").read_bytes()])
    yield "representations", Reader(lambda file: read_shard(images), content, images / "representations.safetensors")
    names = read_table(shard / "index.parquet", INDEX)["file"].to_pylist()
    zipped = changed_bytes([(shard / "pictures.zip").read_bytes()])
    yield "pictures", Reader(lambda file: list(read_pictures(images, names)), zipped, images / "pictures.zip")
    yield from _configs(tmp)
    yield from _checkpoints(ckpt, tmp)
    yield from _texts(tmp)
    yield from _benchmarks(tmp)


def _benchmarks(tmp: Path) -> Iterator[tuple[str, Reader]]:
    """Official files of benchmarks, and maps of pictures."""
    header = "item_id,text,keywords,proposition_id,dependency,category_broad,category_detailed,tuple,"
    asked = f"{header}question_natural_language\nb_1,a cat,,1,0,entity,whole,entity - whole (cat),Is there a cat?\n"
    yield "questions", Reader(read_questions, changed_bytes([asked.encode()]), tmp / "dpg_bench.csv")
    tifa = [{"id": "a", "caption": "a cat", "question": "a cat?", "choices": ["yes", "no"], "answer": "yes"}]
    tifa[0]["element_type"] = "object"
    file = tmp / "tifa.json"
    yield "TIFA", Reader(lambda f: tifa_questions(f, f), json_file(tifa), file)
    atoms = {"prompt": "a cat", "atom_count": 3, "vqa_list": [["Is there a cat?", "Yes"]], "skills": ["object"]}
    atomic = tmp / "geneval2"
    atomic.mkdir()
    yield "GenEval 2", Reader(lambda f: geneval2.read(atomic), json_lines([atoms]), atomic / geneval2.DATA)
    tagged = {"tag": "two_object", "prompt": "a cat", "include": [{"class": "cat", "count": 1, "color": "red"}]}
    tasks = tmp / "geneval"
    tasks.mkdir()
    (tasks / "object_names.txt").write_text("cat\ndog\n")
    yield "GenEval", Reader(lambda f: geneval.read(tasks), json_lines([tagged]), tasks / geneval.METADATA)
    drawn = io.BytesIO()
    Image.effect_noise((9, 7), 50).convert("RGB").save(drawn, "PNG")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("a/b.png", drawn.getvalue())
    kinds = []
    for name in ("PNG", "JPEG", "WEBP", "BMP", "GIF"):
        kind = io.BytesIO()
        Image.open(drawn).save(kind, name)
        kinds.append(kind.getvalue())
    yield "picture", Reader(_picture, changed_bytes(kinds), tmp / "picture.png")
    yield "archive of pictures", Reader(_pictures, changed_bytes([archive.getvalue()]), tmp / "pictures.zip")
    weights = io.BytesIO()
    torch.save({"blocks.0.weight": torch.arange(6.0).view(2, 3), "bias": torch.zeros(3)}, weights)
    yield "pickled weights", Reader(pickled.read_state, changed_bytes([weights.getvalue()]), tmp / "weights.pt")
    ranks = b"".join(base64.b64encode(bytes([i])) + b" %d\n" % i for i in range(256)) + b"IHQ= 256\n"
    yield "tiktoken", Reader(tiktoken_file.read, changed_bytes([ranks]), tmp / "emu3.tiktoken")
    yield "map of pictures", Reader(lambda f: pictures.find([f]), json_file({"a": "b.png"}), tmp / "map.json")
    yield (
        "prompts to avoid",
        Reader(prompts_of, json_lines([{"prompt": "a cat"}]), tmp / "avoid.jsonl"),
    )


def _picture(file: Path) -> None:
    try:
        picture_reader.decode(picture_reader.read_file(file), picture_reader.AS_SEEN)
    except picture_reader.PictureError as error:
        raise InputError(str(error)) from None


def _pictures(file: Path) -> None:
    found = pictures.find([file])
    for name in found.holder:
        found.read(name)


def _configs(tmp: Path) -> Iterator[tuple[str, Reader]]:
    """Config files as bytes, and as values."""
    paths = [ROOT / "config/default.yaml", ROOT / "config/smoke.yaml", ROOT / "config/tiny/janus.yaml"]
    default = yaml.safe_load(paths[0].read_text())
    yield "config file", Reader(config_files.read, changed_bytes([p.read_bytes() for p in paths]), tmp / "config.yaml")
    values = changed_value(default | {"shipped": None}).map(lambda made: json.dumps(made).encode())
    yield "config values", Reader(lambda file: _plans(json.loads(file.read_text())), values, tmp / "values.json")


def _plans(config: Any) -> object:
    """As the workflow does: Snakemake's config is a mapping."""
    return arms.plans(arms.typed(config)) if isinstance(config, dict) else None


def _checkpoints(ckpt: Path, tmp: Path) -> Iterator[tuple[str, Reader]]:
    """Checkpoints and weights of the ShapeWorld LMM and of others, and training state."""
    own = Path(shutil.copytree(ckpt, tmp / "ckpt"))
    config = json.loads((ckpt / "config.json").read_text())
    yield "config.json", Reader(lambda file: models.load(own), json_file(config), own / "config.json")
    for name in ("model.safetensors", "tokenizer.json"):
        apart = Path(shutil.copytree(ckpt, tmp / f"of {name}"))
        content = changed_bytes([(ckpt / name).read_bytes()])
        yield name, Reader(lambda file, apart=apart: models.load(apart), content, apart / name)
    weights = Path(shutil.copytree(ckpt, tmp / "weights"))
    content = changed_bytes([(ckpt / "model.safetensors").read_bytes()])
    check = {"family": "a Llama", "model_type": "llama"}
    yield "headers", Reader(lambda file: folder.check(weights, **check), content, weights / "model.safetensors")
    sharded = Path(shutil.copytree(ckpt, tmp / "sharded"))
    index = {"metadata": {}, "weight_map": {"lm_head.weight": "model.safetensors"}}
    yield (
        "index of shards",
        Reader(lambda file: folder.check(sharded, **check), json_file(index), sharded / folder.INDEX),
    )
    adopted = tmp / "adopted"
    adopted.mkdir()
    yield "adopted", Reader(lambda file: checkpoint.read(adopted), json_file(ADOPTED), adopted / "config.json")
    kept = tmp / "state"
    state.save(kept, "mark", 7, {"weights": [torch.zeros(3)], "log": [{"step": 1, "loss": 0.5}]})
    content = changed_bytes([(kept / state.FILE).read_bytes()])
    yield "state", Reader(lambda file: state.load(kept, "mark"), content, kept / state.FILE)
    texts = tmp / "round-0.json"
    yield "journal", Reader(lambda file: _journal(tmp), json_file(["a", "b"]), texts)


def _journal(folder: Path) -> None:
    """What an interrupted stage kept, or the same written anew."""
    texts = journal.in_blocks(lambda rows: ["a", "b"], 2, journal=folder, name="round")
    assert len(texts) == 2 and all(isinstance(text, str) for text in texts)


def _texts(tmp: Path) -> Iterator[tuple[str, Reader]]:
    """What an LMM says, and the tables of a run."""
    said = st.one_of(
        st.text().map(lambda text: text.encode("utf-8", "surrogatepass")), changed_bytes([s.encode() for s in SAYS])
    )
    yield "an LMM's words", Reader(lambda file: _understood(file.read_bytes()), said, tmp / "said")
    yield "summary.csv", Reader(lambda f: tables.read(f, SUMMARY), changed_bytes([CSV.encode()]), tmp / "summary.csv")
    yield "benchmark", Reader(lambda f: cost.read(f, "align"), changed_bytes([TSV.encode()]), tmp / "align.tsv")


def _understood(said: bytes) -> None:
    """Everything that looks at an LMM's words; what is kept of them can be written and printed."""
    text = said.decode("utf-8", "surrogatepass") if _is_utf8(said) else said.decode("latin-1")
    for world in (plain, shapes):
        asked, dropped = world.split(text)
        record = world.questions_of("p0", asked)
        assert all(question.text.isprintable() for question in record.questions)
        assert dropped.total() >= 0
    for name in SUBCATEGORIES:
        kept = drafts.clean(text)
        assert drafts.refusal(kept, name) is not None or kept.isprintable()
        exam.refusal(text, name)
    for parse in (language.parse_prompt, language.parse_question, language.phrases, plain.phrases, plain.as_question):
        parse(text)


def _is_utf8(said: bytes) -> bool:
    try:
        said.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True
