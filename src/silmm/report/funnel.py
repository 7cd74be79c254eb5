"""What became of prompts, images, questions and pairs in an iteration, step by step, with what was lost and why."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from silmm.errors import InputError, RecordError
from silmm.records import INDEX, PAIRS, SCORES, PairStats, PromptStats, QuestionStats, read_json, read_table
from silmm.report.entries import Step

# Why a draft was dropped: in ShapeWorld's language, and in plain English.
SHAPEWORLD = {
    **{"prompts_invalid": " not in the language", "prompts_off_category": " of another category"},
    "prompts_held_out": " held out for the evaluation",
}
OPEN = {
    **{"prompts_empty": " empty", "prompts_too_short": " too short", "prompts_too_long": " too long"},
    **{"prompts_not_words": " not plain words", "prompts_repetitive": " the same words again and again"},
    "prompts_off_category": " of another category",
}
# In runs that avoid benchmarks' prompts alone.
AVOIDED = {"prompts_benchmark_exact": " a benchmark's prompt", "prompts_benchmark_near": " nearly a benchmark's prompt"}
# In the order of the loop; a text that starts with a space counts what the step before it lost.
STEPS = {
    "prompts_drafted": "prompts drafted",
    **SHAPEWORLD,
    **OPEN,
    "prompts_duplicate": " written before",
    **AVOIDED,
    **{"prompts_kept": "prompts kept", "prompts_unfilled": " places that stayed empty"},
    **{"images_drawn": "images drawn", "pictures_drawn": " pictures of them"},
    **{"questions_kept": "questions kept", "questions_malformed": " malformed", "questions_duplicate": " asked twice"},
    **{"questions_fallback": "prompts as their own question", "prompts_without_questions": " prompts without any"},
    **{"images_scored": "images scored", "prompts_scored": "prompts scored", "prompts_unused": " beyond pairs.prompts"},
    "prompts_tied": " all images tie",
    **{"pairs_drafted": "pairs drafted", "pairs_tie": " tie", "pairs_small_gap": " gap too small"},
    **{"pairs_unsure_winner": " winner not all yes", "pairs_surplus": " beyond pairs.keep"},
    **{"pairs_kept": "pairs kept", "prompts_paired": "prompts with a pair"},
}


def counts(folder: Path) -> dict[str, int]:
    """The numbers of one iteration's folder, by the names of STEPS, as far as its world has them.

    Raises:
        RecordError: a file is missing, damaged, or does not fit the one before it; names it and its stage.
    """
    prompts = read_json(folder / "prompts.stats.json", PromptStats)
    questions = read_json(folder / "qa.stats.json", QuestionStats)
    pairs = read_json(folder / "pairs.stats.json", PairStats)
    drawn, samples, pictures = _drawn(folder)
    scored = read_table(folder / "scores.parquet", SCORES).to_pandas()
    images = scored.groupby(["prompt_id", "sample"]).ngroups
    asked = questions.prompts - questions.without_questions
    for file, stage, found, expected in (
        ("qa.stats.json", "questions", questions.prompts, prompts.kept),
        ("images", "images", drawn, prompts.kept),
        ("scores.parquet", "score", scored.prompt_id.nunique(), asked),
        ("pairs.stats.json", "pairs", pairs.prompts, asked),
        ("pairs.parquet", "pairs", read_table(folder / "pairs.parquet", PAIRS).num_rows, pairs.kept),
    ):
        if found != expected:
            what = "pairs" if file == "pairs.parquet" else "prompts"
            raise RecordError(f"{folder / file}: {found} {what}, but {expected} came before; run silmm {stage} again")
    made = {
        **{"prompts_drafted": prompts.drafts, "prompts_kept": prompts.kept},
        **{f"prompts_{reason}": n for reason, n in prompts.dropped.items()},
        **{"images_drawn": samples, "pictures_drawn": pictures, "questions_kept": questions.questions},
        **{"questions_malformed": questions.malformed, "questions_duplicate": questions.duplicate},
        "questions_fallback": questions.fallback,
        **{"prompts_without_questions": questions.without_questions, "images_scored": images},
        **{"prompts_scored": pairs.prompts, "prompts_unused": pairs.unused, "prompts_tied": pairs.tied},
        **{"pairs_drafted": pairs.drafts, "pairs_kept": pairs.kept, "prompts_paired": pairs.paired},
        **{f"pairs_{reason}": n for reason, n in pairs.dropped.items()},
    }
    foreign = set(SHAPEWORLD) - set(OPEN) if "prompts_empty" in made else set(OPEN) - set(SHAPEWORLD)
    foreign |= set(AVOIDED) if not set(AVOIDED) & set(made) else set()
    if odd := set(made) ^ (set(STEPS) - foreign):
        raise RecordError(f"{folder}: {sorted(odd)[0]} is missing or unknown in a stats.json; run its stage again")
    return {name: made[name] for name in STEPS if name in made}


def _drawn(folder: Path) -> tuple[int, int, int]:
    """Prompts, images (samples) and pictures in the shards of step 2."""
    shards = sorted((folder / "images").glob("shard-*"))
    if not shards:
        raise RecordError(f"{folder / 'images'}: no shards; run the stage that makes them (silmm images)")
    rows = pd.concat([read_table(shard / "index.parquet", INDEX).to_pandas() for shard in shards])
    return rows.prompt_id.nunique(), rows.groupby(["prompt_id", "sample"]).ngroups, len(rows)


def funnel(steps: Iterable[Step]) -> pd.DataFrame:
    """One row an iteration and step: lmm, arm, seed, iteration, step, count.

    Raises:
        InputError: no iteration at all, or one twice; what `counts` raises.
    """
    rows = [
        {"lmm": s.lmm, "arm": s.arm, "seed": s.seed, "iteration": s.iteration, "step": name, "count": n}
        for s in steps
        for name, n in counts(s.dir).items()
    ]
    if not rows:
        raise InputError("a funnel needs at least one iteration (--entry)")
    table = pd.DataFrame(rows)
    if (twice := table.duplicated(["lmm", "arm", "seed", "iteration", "step"])).any():
        lmm, arm, seed, t = table.loc[twice.idxmax(), ["lmm", "arm", "seed", "iteration"]]
        raise InputError(f"{lmm}/seed{seed}/{arm}/iter{t} is given twice")
    return table
