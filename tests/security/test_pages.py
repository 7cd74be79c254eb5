"""What an LMM wrote stays text: in a page, in a model card, on a terminal."""

from __future__ import annotations

import ast
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from silmm.lmm.hf import checkpoint
from silmm.report import gallery

NASTY = (
    "<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", "<!--", "-->", "]]>", "&lt;b&gt;", "\"'`",
    "{{ x }}",
    "[[data]]", "[[script]]", "\u2028\u2029\u0085", "\u202eevil", "${x}", "\\u003cscript>",
    "\x00\x1b[2J", "javascript:alert(1)",
)  # fmt: skip


class Elements(HTMLParser):
    """The elements of a page, and the text of its data."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.data = ""
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(sorted(name for name, _ in attrs))))
        self.inside = ("id", "data") in attrs

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        self.data += data if self.inside else ""


def page(text: str) -> dict[str, Any]:
    """The data of a gallery in which every text is this one."""
    picture = {"png": "", "whole": True, "malformed": False, "own": 0.5, "believed": True, "role": ""}
    policy = {"questions": [text], "pictures": [picture | {"answers": [[0.9, 0.1, True]], "unasked": [[text, False]]}]}
    prompt = {"id": text, "prompt": text, "category": text, "subcategory": text, "policies": [policy, policy]}
    return gallery.gallery(0, [{"lmm": text, "sampler": text, "iterations": [0, 1], "prompts": [prompt]}])


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_no_text_becomes_an_element(text: str) -> None:
    plain, made = Elements(gallery.html(page("a circle"))), Elements(gallery.html(page(text)))
    assert made.tags == plain.tags
    (card,) = json.loads(made.data)["cards"]
    assert card["prompt"] == text
    assert card["policies"][0]["questions"] == [text]


def test_the_page_s_policy_allows_its_own_script_alone() -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', gallery.html(page("a")))
    assert policy is not None
    assert "default-src 'none'" in policy[1] and "unsafe" not in policy[1] and "http" not in policy[1]


FOLDERS = (*NASTY, "a: b", "a\n---\nb", "a`b``c", '"); import os; os.system("true")  #', "'", "a\\", "é", "- x", "#")


@pytest.mark.parametrize("name", FOLDERS, ids=ascii)
def test_a_folder_s_name_stays_a_name_in_a_model_card(name: str) -> None:
    family = checkpoint.family_of("janus")
    weights = {role: Path("weights") / name for role in family.roles}
    settings = checkpoint.Settings("janus", weights, {}, 4, 8, "float32", 2, {})
    plain = checkpoint._card(settings._replace(weights={role: Path("weights/x") for role in family.roles}))
    card = checkpoint._card(settings)
    front, plain_front = (text.split("---\n")[1] for text in (card, plain))
    assert front == plain_front
    assert yaml.safe_load(front)["library_name"] == "peft"
    assert len(card.splitlines()) == len(plain.splitlines())
    (code,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    texts = [node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)]
    assert texts == [str(weights[family.adapted]), "."]
