"""Snakemake's report of a run, in a real browser: every picture and table of it has a category and a caption."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..conftest import SMOKE, Smoke
from ..workflow.conftest import ROOT, run_snakemake
from .chromium import Page

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("smoke")]
CATEGORIES = {
    "Numbers": {"every metric (table)", "differences (table)", "accuracy by iteration"},
    "Pictures": {"base and last policy", "ten samples of a prompt"},
    "The continuous LMM": {"how KC-DPO trained"},
    "After the paper": {"table_1: what self-improvement gains, by group"},
    "Funnel and cost": {"figure_funnel: what became of prompts, images and pairs"},
}


def click(tab: Page, text: str) -> None:
    """Click the innermost element with this text."""
    found = "[...document.querySelectorAll('a, span')].filter((n) => n.innerText.trim() === " + repr(text) + ").at(-1)"
    tab.wait(f"({found}) !== undefined")
    tab.run(f"({found}).click()")


@pytest.fixture(scope="module")
def report(smoke: Smoke, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    words = ("--cores", "1", *SMOKE)
    targets = ("--", "all", "table_1", "figure_funnel")
    run_snakemake(ROOT, smoke.folder, *words, *targets)
    run_snakemake(ROOT, smoke.folder, *words, "--report", str(path), *targets)
    return path


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("width", [390, 1400])
def test_the_report_has_every_figure_with_its_caption(tab: Page, report: Path, category: str, width: int) -> None:
    tab.open(report, width=width)
    tab.wait("document.body.innerText.includes('RESULTS')")
    click(tab, category)
    tab.wait("document.querySelectorAll('tbody tr, table tr').length > 0")
    rows = tab.run("[...document.querySelectorAll('tr')].map((r) => r.cells[0]?.innerText.trim())")
    assert CATEGORIES[category] <= set(rows)
    tab.run("document.querySelector('[iconname=\"information-circle\"]').click()")
    tab.wait("document.body.innerText.includes('DESCRIPTION')")
    assert tab.run("document.documentElement.scrollWidth") <= width
    assert not [url for url in tab.requests if not url.startswith(("file:", "data:", "blob:"))]
    assert [problem for problem in tab.problems if "tailwindcss" not in problem] == []
