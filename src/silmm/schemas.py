"""The schemas of the stage files: a dataclass for a row of JSON, a `Table` for a parquet file.

Rows carry ids, never positions. `silmm.records` reads and writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

CATEGORIES = ("attribute", "layout", "semantic", "complex")
LONGEST_PROMPT = 2000  # characters: several times the longest of the benchmarks
SUBCATEGORIES = ("color", "shape", "texture", "spatial_2d", "spatial_3d", "numeracy", "non_spatial", "complex")


# --- rows of the JSON lines files ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prompt:
    """One row of prompts.jsonl: a prompt that the policy wrote, with the number of the draft that was kept."""

    STAGE = "prompts"

    id: str = field(metadata={"id": True})
    category: str = field(metadata={"choices": CATEGORIES})
    subcategory: str = field(metadata={"choices": SUBCATEGORIES})
    prompt: str = field(metadata={"longest": LONGEST_PROMPT})
    attempt: int


@dataclass(frozen=True)
class Question:
    """One yes/no question; `parents` are the ids of the questions (same prompt) that it presupposes."""

    id: str = field(metadata={"id": True})
    text: str = field(metadata={"longest": 2 * LONGEST_PROMPT})
    expected: str = field(default="yes", metadata={"choices": ("yes", "no")})
    parents: tuple[str, ...] = ()


@dataclass(frozen=True)
class PromptQuestions:
    """One row of qa.jsonl: the units that the policy split a prompt into, and its questions about them."""

    STAGE = "questions"

    prompt_id: str = field(metadata={"id": True})
    units: tuple[str, ...]
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class PromptStats:
    """prompts.stats.json: how many drafts were written, kept, and dropped by reason."""

    STAGE = "prompts"

    kept: int
    drafts: int
    dropped: dict[str, int]


@dataclass(frozen=True)
class QuestionStats:
    """qa.stats.json: how many questions were kept, and dropped by reason."""

    STAGE = "questions"

    prompts: int
    without_questions: int  # of the prompts
    questions: int  # kept
    malformed: int
    duplicate: int
    malformed_share: float  # of all questions written
    coverage: float | None  # mean share of a prompt's units that a question asks about; None in the open world
    fallback: int  # prompts without own questions that are their own question, among `questions`


@dataclass(frozen=True)
class PairStats:
    """pairs.stats.json: what became of the prompts with scores, and of the pairs that their images could make."""

    STAGE = "pairs"

    prompts: int  # with scores
    unused: int  # of them, beyond the settings' number of prompts
    tied: int  # of those used, all images have one score
    paired: int  # of those used, with a pair that was kept
    drafts: int  # best images against worst
    kept: int
    dropped: dict[str, int]  # by reason: tie, small_gap, unsure_winner (not all yes), surplus (beyond `keep`)


@dataclass(frozen=True)
class AlignStats:
    """align.stats.json of a continuous LMM: the spread k(Hw, Hl) of the iteration's pairs, and gamma."""

    STAGE = "align"

    pairs: int
    gamma: float
    spread: float  # mean over the pairs; its quantiles:
    spread_5: float
    spread_50: float
    spread_95: float
    argument: float  # gamma * spread: the scale at which the sigmoid works


@dataclass(frozen=True)
class Metric:
    """One measurement of a policy that is not a row per image."""

    metric: str
    sampler: str
    category: str
    value: float
    n: int


@dataclass(frozen=True)
class EvalStats:
    """eval.stats.json."""

    STAGE = "evaluate"

    metrics: tuple[Metric, ...]


# --- tables -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """The schema of a parquet file: column types, the columns that identify a row, and limits of values."""

    stage: str
    columns: Mapping[str, str]
    key: tuple[str, ...]
    probabilities: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()  # columns of ids, which become parts of file names
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    optional: tuple[str, ...] = ()  # columns that may have no value


INDEX = Table(
    "images",
    {"prompt_id": "string", "sample": "int32", "noise": "int32", "file": "string"},  # noise: number of the decoder's
    ("prompt_id", "sample", "noise"),
    ids=("prompt_id",),
)
SCORES = Table(
    "score",
    {"prompt_id": "string", "sample": "int32", "question_id": "string", "p_yes": "float32", "p_no": "float32"},
    ("prompt_id", "sample", "question_id"),
    probabilities=("p_yes", "p_no"),
    ids=("prompt_id", "question_id"),
)
PAIRS = Table(
    "pairs",
    {
        "prompt_id": "string",
        "chosen": "int32",
        "rejected": "int32",
        "score_chosen": "float64",
        "score_rejected": "float64",
    },
    ("prompt_id", "chosen", "rejected"),
    ids=("prompt_id",),
)
EVAL = Table(
    "evaluate",
    {
        "sampler": "string",
        "prompt_id": "string",
        "subcategory": "string",
        "sample": "int32",
        "unit": "string",
        "kind": "string",
        "oracle": "bool",
        "p_yes": "float32",
        "p_no": "float32",
        "malformed": "bool",
        "objects": "int32",  # that the oracle reads on the picture; 0 where it is malformed
    },
    ("sampler", "prompt_id", "sample", "unit"),
    probabilities=("p_yes", "p_no"),
    choices={"subcategory": SUBCATEGORIES},
)
DIVERSITY = Table(
    "diversity",
    {
        "strategy": "string",
        "prompt_id": "string",
        "subcategory": "string",
        "sample": "int32",
        "text": "string",  # what was drawn: the prompt, or another text for it
        "whole": "bool",  # the oracle on the prompt itself, and the share of its units that hold
        "held": "float64",
        "malformed": "bool",
        "asked": "int32",  # the policy's own questions; where there are none, its score is 0
        "own_score": "float64",
        "distance": "float64",  # mean cosine distance of pooled features to the other samples of the prompt
    },
    ("strategy", "prompt_id", "sample"),
    probabilities=("held",),
    choices={"subcategory": SUBCATEGORIES},
)
AUDIT = Table(
    "audit",
    {
        "prompt_id": "string",
        "subcategory": "string",
        "sample": "int32",
        "question_id": "string",
        "kind": "string",
        "expected": "string",
        "p_yes": "float32",
        "p_no": "float32",
        "oracle": "float64",  # share of the sample's pictures for which the oracle says yes to the question
        "held": "float64",  # share of the prompt's units that hold, mean over the sample's pictures
        "whole": "float64",  # share of the sample's pictures on which all of them hold
        "pictures": "int32",
    },
    ("prompt_id", "sample", "question_id"),
    probabilities=("p_yes", "p_no", "oracle", "held", "whole"),
    choices={"subcategory": SUBCATEGORIES, "kind": ("exist", "count", "relation", "total"), "expected": ("yes", "no")},
)
BENCHMARK = Table(
    "benchmark",
    {
        "item_id": "string",
        "image": "int32",
        "question_id": "string",
        "category": "string",
        "question": "string",
        "expected": "string",
        "answer": "string",
        "p": "float64",  # the judge's probability, similarity or confidence
        "official": "float64",  # none where the published arithmetic leaves it out
        "corrected": "float64",
    },
    ("item_id", "image", "question_id"),
    ids=("item_id",),
    optional=("p", "official"),
)
