"""`gallery.html`: prompts by iterations in one page that needs nothing else, to look through in a browser.

The page is gallery.html beside this file, with gallery.css, gallery.js and the data put into it. Text that a
model wrote goes in as JSON and becomes text nodes, never markup; the page's own policy allows this one script and style
alone, and no connection to anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from silmm.atomic import atomic_file
from silmm.outputs import PAGE
from silmm.report.tables import words

PARTS = {suffix: Path(__file__).with_suffix(f".{suffix}") for suffix in ("html", "css", "js")}


def gallery(seed: int, lmms: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The page's data: one card a prompt and LMM, of the rows that `silmm.stages.gallery` measures.

    A card's `held` counts the pictures of each policy for which the whole prompt holds; its `change` is by the first
    and the last of them. A picture's `judged` says whether the LMM, which takes the prompt as fulfilled if every
    answer is the expected one, is right, or else `optimistic` or `pessimistic`; `silent` where it asked nothing.
    """
    cards = [
        _card(one["lmm"], one["iterations"], prompt) for one in lmms for prompt in one["prompts"]
    ]  # in the order of the sub-categories
    heads = [{"lmm": one["lmm"], "sampler": words(one["sampler"]), "iterations": one["iterations"]} for one in lmms]
    return {"seed": seed, "lmms": heads, "cards": cards}


def _card(lmm: str, iterations: Sequence[int], prompt: dict[str, Any]) -> dict[str, Any]:
    policies = [
        {"iteration": t, **policy, "pictures": [_judged(picture) for picture in policy["pictures"]]}
        for t, policy in zip(iterations, prompt["policies"], strict=True)
    ]
    held = [sum(picture["whole"] for picture in policy["pictures"]) for policy in policies]
    change = "improved" if held[-1] > held[0] else "regressed" if held[-1] < held[0] else "same"
    names = {"key": f"{lmm}-{prompt['id']}", "lmm": lmm, "held": held, "change": change}
    return names | {name: prompt[name] for name in ("prompt", "category", "subcategory")} | {"policies": policies}


def _judged(picture: dict[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in picture.items() if name != "believed"}
    return rest | {"judged": _word(picture["believed"], picture["whole"])}


def _word(believed: bool | None, whole: bool) -> str:
    if believed is None:
        return "silent"
    if believed == whole:
        return "right"
    return "optimistic" if believed else "pessimistic"


def write(data: dict[str, Any], out: Path) -> None:
    """Write the page; the same data give the same bytes."""
    with atomic_file(out, PAGE) as temporary:
        temporary.write_text(html(data), encoding="utf-8")


def html(data: dict[str, Any]) -> str:
    """The whole page as text."""
    page, style, script = (PARTS[suffix].read_text(encoding="utf-8") for suffix in ("html", "css", "js"))
    parts = {"style": style, "script": script, "style_hash": _hash(style), "script_hash": _hash(script)}
    for name, text in (parts | {"data": as_json(data)}).items():  # the data last: nothing in them is replaced
        page = page.replace(f"[[{name}]]", text, 1)
    return page


def as_json(data: Any) -> str:
    """JSON that can stand in a script element: no `<` ends it or opens a comment; numbers with three decimals."""
    text = json.dumps(_rounded(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3) + 0.0
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value


def _hash(text: str) -> str:
    """What a content security policy knows a script or a style by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
