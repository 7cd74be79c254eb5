"""No source makes code, or a command, of a file: what could is not called, or only in the form that cannot."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("src", "workflow", "paper_figures")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
RULES = sorted([ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk")])
BANNED_NAMES = """
    eval exec compile __import__ os.system os.popen pickle.load pickle.loads pickle.Unpickler dill.load joblib.load
    cloudpickle.load marshal.load marshal.loads shelve.open yaml.unsafe_load yaml.full_load yaml.load_all torch.hub.load
    subprocess.getoutput subprocess.getstatusoutput pd.read_pickle tempfile.mktemp shutil.unpack_archive
"""
METHODS = {"extractall", "extract", "read_pickle", "to_pickle"}  # of an archive or a table, whatever it is called
OPENERS = {"imread", "imread_v2", "load_image", "read_image", "decode_image", "imdecode"}  # of pictures of any format
READER = "picture_reader.py"  # the one module that opens pictures


def name_of(node: ast.expr) -> str:
    """The dotted name that is called; a question mark for what has none."""
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def wrong(call: ast.Call) -> str | None:
    """What is wrong with a call, or None."""
    name, given = name_of(call.func), {word.arg: word.value for word in call.keywords}

    def is_(word: str, value: object) -> bool:
        node = given.get(word)
        return isinstance(node, ast.Constant) and node.value is value

    last = name.rpartition(".")[2]
    if name in BANNED_NAMES.split() or (last in METHODS and "." in name):
        return f"{name} is called"
    if last in OPENERS:
        return f"{name} opens a picture: use silmm.{READER.removesuffix('.py')}"
    if name.endswith("Image.open") and "formats" not in given:
        return "Image.open of any format"
    if name == "torch.load" and not is_("weights_only", True):
        return "torch.load without weights_only=True"
    if name in ("np.load", "numpy.load") and "allow_pickle" in given and not is_("allow_pickle", False):
        return "np.load with pickles"
    if name == "yaml.load" and name_of(given.get("Loader", ast.Name(""))) != "_Strict":
        return "yaml.load, and not safe_load"
    if "shell" in given and not is_("shell", False):
        return f"{name} through a shell"
    if "trust_remote_code" in given and not is_("trust_remote_code", False):
        return f"{name} trusts remote code"
    if last == "from_pretrained" and not is_("local_files_only", True):
        return f"{name} may download"
    return None


def calls(path: Path) -> Iterator[ast.Call]:
    """Every call in a file."""
    return (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))


def test_no_source_calls_what_runs_a_file() -> None:
    assert len(FILES) > 180
    found = [
        f"{path.relative_to(ROOT)}:{call.lineno}: {why}"
        for path in FILES
        for call in calls(path)
        if (why := wrong(call))
    ]
    assert found == []


def test_one_module_opens_pictures() -> None:
    opening = {path.name for path in FILES for call in calls(path) if name_of(call.func).endswith("Image.open")}
    assert opening == {READER}
    renamed = re.compile(r"from PIL.Image import .*\bopen\b|from PIL import .*Image as|import PIL.Image as")
    assert [path for path in FILES if renamed.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    "text",
    [
        "eval(x)", "os.system(x)", "torch.load(x)", "torch.load(x, weights_only=False)",
        "np.load(x, allow_pickle=True)",
        "yaml.load(x)", "yaml.load(x, Loader=yaml.Loader)", "subprocess.run(x, shell=True)", "pickle.load(x)",
        "A.from_pretrained(x)", "A.from_pretrained(x, local_files_only=True, trust_remote_code=True)",
        "archive.extractall(x)", "pd.read_pickle(x)", "Image.open(x)", "PIL.Image.open(x)", "cv2.imread(x)",
    ],
)  # fmt: skip
def test_the_test_would_see_it(text: str) -> None:
    (node,) = ast.parse(text).body
    assert isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    assert wrong(node.value)


def test_yaml_is_loaded_by_a_safe_loader() -> None:
    import yaml

    from silmm.config_files import _Strict

    assert issubclass(_Strict, yaml.SafeLoader)
    with pytest.raises(yaml.YAMLError):
        yaml.load("!!python/object/apply:os.system ['true']", Loader=_Strict)


def test_no_rule_puts_a_text_into_a_command() -> None:
    """Only names that the wildcards' constraints and the config's checks allow: no prompt, no id, no text of a file."""
    wildcards = r"wildcards\.(lmm|seed|arm|t|shard|figure|policy|benchmark|kind)"
    allowed = rf"({wildcards}|(input|output)(\.\w+|\[\d\])?|params\.\w+|log(\[\d\])?|threads|resources\.\w+)"
    text = "\n".join(path.read_text() for path in RULES)
    blocks = re.findall(r"^    shell:\n((?:        .*\n)+)", text, flags=re.MULTILINE)
    assert len(blocks) > 15
    used = {name for block in blocks for name in re.findall(r"(?<!\{)\{([^{}]+)\}", block)}
    assert {name for name in used if not re.fullmatch(allowed, name)} == set()
    assert not re.search(r"^\s+run:$", text, flags=re.MULTILINE)


def test_jobs_do_not_ask_the_network() -> None:
    assert '"HF_HUB_OFFLINE": "1"' in (ROOT / "workflow/rules/common.smk").read_text()
