"""The gallery in a real browser: what filters show, what keys do, and that nothing a model wrote is ever markup."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from silmm.report import gallery

from .chromium import Page

pytestmark = pytest.mark.xdist_group("browser")
# A picture of one grey pixel: what it shows does not matter here.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNoaGgAAAMEAYFL09IQAAAAAElFTkSuQmCC"
HOSTILE = (
    "<script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\">",
    "</script><script>document.title = 'owned'</script>",
    "<!-- <script> \" ' &lt;b&gt; [[script]] \u2028 \\u003c ${document.title = 'owned'} `",
)
# id, sub-category, prompt, and for every iteration two pictures: does it hold, does the LMM take it to (- for no
# question), is it chosen or rejected.
ROWS = {
    "discrete": (
        ("e0", "color", HOSTILE[0], "ff.ff. fhcffr hhchhr"),
        ("e1", "shape", "b " + HOSTILE[1], "hh.hh. hh.hf. hh.ff."),
        ("e2", "color", "a blue circle", "hh.ff. ff.hh. hh.ff."),
        ("e3", "numeracy", "z " + HOSTILE[2], "f-.f-. f-.f-. hhchfr"),
    ),
    "continuous": (
        ("e0", "color", "c", "ffcffr fhcffr"),
        ("e4", "non_spatial", "d" * 200, "hfchfr ffcffr"),
    ),
}
GROUP = {"color": "attribute", "shape": "attribute", "numeracy": "layout", "non_spatial": "semantic"}
ALL = ["discrete-e0", "discrete-e1", "discrete-e2", "discrete-e3", "continuous-e0", "continuous-e4"]

# [class, colour, what it stands on] of every text.
COLOURS = r"""(() => {
  const color = (node, name) => getComputedStyle(node)[name].match(/[\d.]+/g).map(Number);
  const ground = (node) => {
    while (node && color(node, "backgroundColor")[3] === 0) node = node.parentElement;
    return color(node, "backgroundColor");
  };
  const texts = "h1, p, h2, .facts span, .head, .picture span, .picture b, td, th, label, select";
  return [...document.querySelectorAll(texts)].filter((node) => node.checkVisibility())
    .map((node) => [node.className, color(node, "color"), ground(node)]);
})()"""


def picture(code: str, number: int) -> dict[str, Any]:
    holds, believed = code[0] == "h", {"h": True, "f": False, "-": None}[code[1]]
    silent = believed is None
    yes = 0.875 if believed else 0.25
    return {
        **{"png": PNG, "whole": holds, "malformed": code == "f-." and number == 1, "believed": believed},
        **{"own": None if silent else 2 * yes - 1, "role": {"c": "chosen", "r": "rejected", ".": ""}[code[2]]},
        **{"answers": [] if silent else [[yes, 1 - yes, holds]], "unasked": [["are there two objects ?", holds]]},
    }


def data() -> dict[str, Any]:
    lmms = []
    for lmm, rows in ROWS.items():
        prompts = [
            {
                **{"id": name, "prompt": prompt, "subcategory": sub, "category": GROUP[sub]},
                "policies": [
                    {
                        "questions": [] if "-" in codes else [f"is there {prompt} ?"],
                        "pictures": [picture(codes[3 * k : 3 * k + 3], k) for k in range(2)],
                    }
                    for codes in row.split()
                ],
            }
            for name, sub, prompt, row in rows
        ]
        iterations = list(range(len(rows[0][3].split())))
        lmms.append({"lmm": lmm, "sampler": "t1.0", "iterations": iterations, "prompts": prompts})
    return gallery.gallery(7, lmms)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gallery") / "gallery.html"
    gallery.write(data(), path)
    return path


def shown(tab: Page) -> list[str]:
    """The cards that show, in the order in which they stand on the page."""
    found = tab.run(
        "[...document.querySelectorAll('[data-card]')].map((c) => [c.dataset.card, c.getBoundingClientRect().height,"
        " c.getBoundingClientRect().top, c.getBoundingClientRect().left])"
    )
    return [key for key, height, *_ in sorted(found, key=lambda one: one[2:]) if height]


def bright(tab: Page) -> set[str]:
    """The pictures of the cards that show, without the pale ones."""
    return set(
        tab.run(
            "[...document.querySelectorAll('.picture')].filter((p) => p.checkVisibility() &&"
            " getComputedStyle(p).opacity === '1').map((p) => p.dataset.key)"
        )
    )


@pytest.mark.parametrize(
    ("fragment", "cards"),
    [
        ("", ALL),
        ("#lmm=continuous", ALL[4:]),
        ("#category=color", ["discrete-e0", "discrete-e2", "continuous-e0"]),
        ("#category=attribute", ["discrete-e0", "discrete-e1", "discrete-e2", "continuous-e0"]),
        ("#category=non_spatial", ["continuous-e4"]),
        ("#change=improved", ["discrete-e0", "discrete-e3"]),
        ("#change=regressed", ["discrete-e1", "continuous-e4"]),
        ("#change=same", ["discrete-e2", "continuous-e0"]),
        ("#category=color&change=improved", ["discrete-e0"]),
        ("#category=numeracy&change=regressed", []),
        ("#sort=change", [ALL[i] for i in (0, 3, 2, 4, 1, 5)]),
        ("#sort=-change&lmm=discrete", [ALL[i] for i in (1, 2, 0, 3)]),
        ("#sort=prompt", [ALL[i] for i in (0, 2, 1, 4, 5, 3)]),
    ],
)
def test_a_link_shows_exactly_its_cards(tab: Page, page: Path, fragment: str, cards: list[str]) -> None:
    tab.open(page, fragment)
    assert shown(tab) == cards
    assert tab.run("document.getElementById('status').innerText").startswith(f"{len(cards)} of 6 prompts shown")
    assert tab.problems == []


@pytest.mark.parametrize(
    ("fragment", "pictures"),
    [
        ("#judged=optimistic", {"discrete-e0-1-0", "continuous-e0-1-0"}),
        ("#judged=pessimistic", {"discrete-e1-1-1", "discrete-e3-2-1", "continuous-e4-0-0", "continuous-e4-0-1"}),
        ("#judged=silent", {f"discrete-e3-{t}-{k}" for t in (0, 1) for k in (0, 1)}),
        ("#role=chosen&lmm=discrete", {"discrete-e0-1-0", "discrete-e0-2-0", "discrete-e3-2-0"}),
        ("#role=rejected&judged=pessimistic", {"discrete-e3-2-1", "continuous-e4-0-1"}),
    ],
)
def test_a_filter_of_pictures_pales_the_others(tab: Page, page: Path, fragment: str, pictures: set[str]) -> None:
    tab.open(page, fragment)
    assert bright(tab) == pictures
    assert set(shown(tab)) == {key.rsplit("-", 2)[0] for key in pictures}
    assert f"{len(pictures)} picture" in tab.run("document.getElementById('status').innerText")


def test_filters_work_by_hand_and_go_into_the_address(tab: Page, page: Path) -> None:
    tab.open(page)
    for name, value in (("category", "color"), ("change", "improved")):
        tab.run(
            f"(() => {{ const s = document.getElementById('filter-{name}'); s.value = '{value}';"
            " s.dispatchEvent(new Event('change')); })()"
        )
    assert shown(tab) == ["discrete-e0"]
    assert tab.run("location.hash") == "#category=color&change=improved"
    tab.run("document.getElementById('reset').click()")
    assert shown(tab) == ALL
    assert tab.run("document.getElementById('filter-category').value") == ""


def test_an_unknown_filter_is_named(tab: Page, page: Path) -> None:
    tab.open(page, "#category=nonsense&size=9&change=improved")
    status = tab.run("document.getElementById('status').innerText")
    assert "No filter of this page: category=nonsense, size=9" in status
    assert shown(tab) == ["discrete-e0", "discrete-e3"]


def test_everything_can_be_reached_and_opened_by_keys(tab: Page, page: Path) -> None:
    tab.open(page, "#category=numeracy")
    tab.run("document.getElementById('reset').focus()")
    tab.press("Tab")
    focused = "document.activeElement.dataset.key"
    assert tab.run(focused) == "discrete-e3-0-0"
    for _ in range(2):
        tab.press("Tab")
    tab.press("Enter", "\r")
    assert tab.run("document.activeElement.getAttribute('aria-expanded')") == "true"
    assert tab.run("location.hash") == "#open=discrete-e3-2-0&category=numeracy"
    row = "(r) => [...r.cells].map((c) => c.textContent)"
    rows = f"[...document.querySelectorAll('.panel:not([hidden]) tbody tr')].map({row})"
    assert tab.run(rows) == [
        [f"is there {ROWS['discrete'][3][2]} ?", "yes (0.88 / 0.13)", "✓ holds"],
        ["are there two objects ?", "not asked", "✓ holds"],
    ]
    tab.press("Escape")
    assert tab.run(focused) == "discrete-e3-2-0"
    assert tab.run("document.querySelectorAll('.panel:not([hidden])').length") == 0


def test_a_link_opens_a_picture(tab: Page, page: Path) -> None:
    tab.open(page, "#open=discrete-e3-0-1")
    panel = tab.run("document.querySelector('.panel:not([hidden])').innerText")
    assert "base, picture 2" in panel
    assert "Oracle: the picture shows no scene. Own score: none: it asked nothing." in panel


def test_text_of_a_model_is_text(tab: Page, page: Path) -> None:
    tab.open(page, "#open=discrete-e0-0-0")
    titles = "[...document.querySelectorAll('[data-card]')].map((c) => [c.dataset.card, c.children[0].textContent])"
    assert dict(tab.run(titles)) == {f"{lmm}-{row[0]}": row[2] for lmm, rows in ROWS.items() for row in rows}
    assert tab.run("document.querySelector('.panel:not([hidden]) td').textContent") == f"is there {HOSTILE[0]} ?"
    assert tab.run("document.title") == "Gallery: prompts by iterations"
    assert tab.run("document.querySelectorAll('script').length") == 2
    assert tab.run("[...document.images].filter((i) => !i.src.startsWith('data:image/png;base64,')).length") == 0
    assert tab.problems == []


def test_even_markup_that_got_in_could_do_nothing(tab: Page, page: Path) -> None:
    tab.open(page)
    tab.run(f"document.body.insertAdjacentHTML('beforeend', {HOSTILE[0]!r})")
    tab.run("new Promise((done) => setTimeout(done, 200))")
    assert tab.run("document.title") == "Gallery: prompts by iterations"
    assert any("Content Security Policy" in problem for problem in tab.problems)
    assert not [url for url in tab.requests if not url.startswith(("file:", "data:"))]


def test_the_page_needs_nothing_else(tab: Page, page: Path) -> None:
    tab.open(page)
    assert not re.search(r"https?://|url\(|@import", page.read_text())
    assert [url for url in tab.requests if not url.startswith("data:")] == [page.resolve().as_uri()]
    pixels = "getComputedStyle(document.images[0]).imageRendering"
    assert tab.run(pixels) == "pixelated"


@pytest.mark.parametrize("width", [320, 390, 800, 1400])
def test_nothing_is_wider_than_the_window(tab: Page, page: Path, width: int) -> None:
    tab.open(page, "#open=discrete-e0-1-0", width=width)
    assert tab.run("document.documentElement.scrollWidth") <= width
    lefts = set(tab.run("[...document.querySelectorAll('article')].map((a) => a.getBoundingClientRect().left)"))
    assert len(lefts) == {320: 1, 390: 1, 800: 1, 1400: 3}[width]
    side = tab.run("document.querySelector('.picture img').getBoundingClientRect().width")
    assert side >= 45


def test_light_and_dark_can_be_read(tab: Page, page: Path) -> None:
    """WCAG's contrast of 4.5 for every text colour on what it stands on."""

    def luminance(rgb: list[float]) -> float:
        parts = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (x / 255 for x in rgb)]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    grounds = []
    for dark in (False, True):
        tab.open(page, "#open=discrete-e0-1-0", dark=dark)
        colours = tab.run(COLOURS)
        for name, ink, ground in colours:
            low, high = sorted((luminance(ink[:3]), luminance(ground[:3])))
            assert (high + 0.05) / (low + 0.05) >= 4.5, f"{name}: {ink} on {ground}, dark: {dark}"
        grounds.append(luminance(colours[0][2][:3]))
    assert grounds[0] > 0.8 and grounds[1] < 0.1
