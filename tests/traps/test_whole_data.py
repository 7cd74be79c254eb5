"""Nothing is lost or mixed up between the steps: last blocks, empty shards, the longest rows, a pair's own images."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from silmm.lmm.interface import Sampling
from silmm.lmm.shapeworld import layout
from silmm.lmm.shapeworld.lmm import DiscreteLMM
from silmm.records import (
    PAIRS,
    SCORES,
    Prompt,
    PromptQuestions,
    PromptStats,
    read_json,
    read_jsonl,
    read_table,
    write_jsonl,
)
from silmm.settings import Prompts
from silmm.shapeworld.exam import refusal
from silmm.shapeworld.language import parse_prompt, units, write_question
from silmm.shapeworld.questions import split
from silmm.shapeworld.scene import COLORS
from silmm.stages import prompts as prompts_stage
from silmm.stages.align import load_preferences
from silmm.stages.journal import BLOCK
from silmm.stages.representations import read_shard, read_tokens

from .conftest import SAMPLES, Files, make_iteration, training_prompt

LONGEST_QUESTION = "is a small striped red circle to the left of a big solid blue square ?"


def longest_prompt() -> str:
    """A valid prompt of as many words as fit, none of its compositions held out."""
    for color in COLORS:
        text = f"a striped {color} circle to the left of a solid blue square with a green circle"
        if refusal(text, "complex") is None:
            return text
    raise AssertionError("every such prompt is held out")


# ---- the last group is flushed -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, BLOCK, BLOCK + 1])
def test_as_many_prompts_come_out_as_go_in(n: int, ckpt: Path, tmp_path: Path) -> None:
    made = make_iteration(tmp_path / "two", ckpt, n, 2)
    asked = {row.prompt_id: [q.id for q in row.questions] for row in read_jsonl(made.qa, PromptQuestions)}
    wanted = {(p.id, k) for p in read_jsonl(made.prompts, Prompt) for k in range(SAMPLES)}
    assert len(wanted) == n * SAMPLES
    assert set(read_tokens(made.images)) == wanted
    archives = [ZipFile(folder / "pictures.zip").namelist() for folder in made.images]
    assert sorted(chain(*archives)) == sorted(f"{prompt_id}_{k}.png" for prompt_id, k in wanted)
    rows = read_table(made.scores, SCORES).to_pylist()
    answered = {(r["prompt_id"], r["sample"], r["question_id"]) for r in rows}
    assert answered == {(prompt_id, k, q) for prompt_id, k in wanted for q in asked[prompt_id]}

    one = make_iteration(tmp_path / "one", ckpt, n, 1)  # how the work is divided changes no number
    tokens, others = read_tokens(one.images), read_tokens(made.images)
    assert all((tokens[key] == others[key]).all() for key in wanted)
    keyed = {(r["prompt_id"], r["sample"], r["question_id"]): r for r in read_table(one.scores, SCORES).to_pylist()}
    assert all(keyed[r["prompt_id"], r["sample"], r["question_id"]] == r for r in rows)


class Writer:
    """Writes training prompts, as an LMM that has learned to; now and then the same one, or nonsense."""

    world = "shapeworld"

    def write(self, names: list[str], keys: list[tuple], *, temperature: float) -> list[str]:
        texts = [training_prompt(*key, subcategory=name) for name, key in zip(names, keys, strict=True)]
        return ["a a a" if i % 5 == 4 else texts[0] if i % 7 == 6 else text for i, text in enumerate(texts)]


@pytest.mark.parametrize("n", [1, 2, BLOCK, BLOCK + 1])
def test_as_many_prompts_are_kept_as_are_wanted(n: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("silmm.lmm.load", lambda folder: Writer())
    monkeypatch.setattr("silmm.lmm.name_of", lambda folder: "discrete")
    out, stats = tmp_path / "prompts.jsonl", tmp_path / "stats.json"
    prompts_stage.run(Prompts(n=n), ckpt=tmp_path, seed=0, iteration=1, out=out, stats=stats)
    rows = read_jsonl(out, Prompt)
    counts = read_json(stats, PromptStats)
    assert len({row.prompt for row in rows}) == len({row.id for row in rows}) == n == counts.kept
    assert counts.drafts == counts.kept + sum(counts.dropped.values()) - counts.dropped["unfilled"]
    assert counts.dropped["unfilled"] == 0


@pytest.mark.parametrize("n", [1, 2, BLOCK + 1])
def test_as_many_texts_come_back_as_are_asked_for(n: int, tiny: DiscreteLMM) -> None:
    assert len(tiny.write(["color"] * n, [("traps", i) for i in range(n)], temperature=1.0)) == n
    assert len(tiny.ask(["a red circle and a blue square"] * n, max_tokens=4)) == n


# ---- what is as long as the limit is not cut short -----------------------------------------------------------------


def test_the_longest_prompt_is_drawn_and_scored_as_any_other(tiny: DiscreteLMM) -> None:
    text = longest_prompt()
    assert len(text.split()) == layout.PROMPT_WORDS
    short = "a red circle and a blue square"
    keys = [[("long", k) for k in range(2)], [("short", k) for k in range(2)]]
    both = tiny.draw([text, short], keys, Sampling()).tokens_PNL
    assert both.shape == (2, 2, tiny.length)  # a picture has no end token: every one is of full length
    assert (tiny.draw([text], keys[:1], Sampling()).tokens_PNL[0] == both[0]).all()
    alone = tiny.token_logps([text], both[0, :1]).detach()
    assert alone.isfinite().all()
    np.testing.assert_allclose(tiny.token_logps([text, short], both[:, 0])[:1].detach(), alone, atol=1e-5)


def test_the_longest_question_is_answered_as_any_other(tiny: DiscreteLMM) -> None:
    assert len(LONGEST_QUESTION.split()) in (layout.QUESTION_WORDS - 1, layout.QUESTION_WORDS)
    codes = np.random.default_rng(0).integers(0, tiny.vocab.n_visual, (2, tiny.length))
    alone = tiny.answer(codes[:1], [[LONGEST_QUESTION]])[0]
    among = tiny.answer(codes, [["are there two objects ?", LONGEST_QUESTION], ["is there a red circle ?"]])[0]
    np.testing.assert_allclose(among[1:], alone, atol=1e-5)


def test_a_written_prompt_without_room_for_an_end_is_whole(tiny: DiscreteLMM) -> None:
    texts = tiny.write(["complex"] * 8, [("end", i) for i in range(8)], temperature=1.0)
    assert max(len(text.split()) for text in texts) == layout.PROMPT_WORDS
    assert all(word in tiny.vocab.ids for text in texts for word in text.split())
    assert parse_prompt(longest_prompt()) is not None


def test_a_question_list_that_ends_at_the_limit_keeps_its_last_question() -> None:
    spec = parse_prompt(longest_prompt())
    assert spec is not None
    words = " ".join(write_question(unit) for unit in units(spec)).split()
    for cut in range(1, len(words) + 1):
        asked, dropped = split(" ".join(words[:cut]))
        assert len(asked) == words[:cut].count("?")
        assert sum(dropped.values()) == (words[cut - 1] != "?")


# ---- a pair holds its own prompt's images ---------------------------------------------------------------------------


def test_pairs_are_joined_by_id_and_not_by_position(iteration: Files, tmp_path: Path) -> None:
    tokens = read_tokens(iteration.images)
    text = {row.id: row.prompt for row in read_jsonl(iteration.prompts, Prompt)}
    shuffled = tmp_path / "prompts.jsonl"
    write_jsonl(shuffled, reversed(read_jsonl(iteration.prompts, Prompt)))
    rows = read_table(iteration.pairs, PAIRS).to_pylist()
    data = load_preferences(iteration.pairs, shuffled, iteration.qa, iteration.images[::-1])
    assert len(rows) == len(data.prompts) > 6
    for row, prompt, chosen, rejected in zip(rows, data.prompts, data.chosen, data.rejected, strict=True):
        assert prompt == text[row["prompt_id"]]
        assert (chosen == tokens[row["prompt_id"], row["chosen"]]).all()
        assert (rejected == tokens[row["prompt_id"], row["rejected"]]).all()
        assert row["score_chosen"] > row["score_rejected"]


def test_an_empty_shard_is_a_shard(iteration: Files) -> None:
    keys, tokens = read_shard(iteration.images[1])
    assert keys == []
    assert len(tokens) == 0
