"""What a judge of each role can do. Pictures are uint8 `[H, W, 3]`, of any sizes; each is encoded once a call, however
much is asked about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np

ROLES = {
    "vqa": "answers questions",
    "clip": "compares a picture with texts",
    "detector": "finds objects",
    "depth": "measures depth",
    "sentences": "compares texts",
}


class Card(NamedTuple):
    """Which judge it was: stands beside every number."""

    role: str  # of ROLES
    model: str  # its kind: "blip-vqa", "clip", "qwen3-vl", ...
    source: str  # hub id, or the folder's own name (no path)
    revision: str  # the hub's commit, or `sha256:...` over the folder's weights and settings
    resolution: str  # of what it looks at, e.g. "480x480"


class Query(NamedTuple):
    """A question about a picture."""

    text: str
    choices: tuple[str, ...] = ("yes", "no")  # answers whose probability is wanted
    free: bool = False  # whether to write an answer too, greedily
    whole: bool = False  # count spellings that are one token alone; else, of others, the first token counts


class Answer(NamedTuple):
    """What a judge answers."""

    probs: tuple[float, ...]  # of each choice, as the next token among all of the vocabulary
    text: str  # the answer that it writes where it was asked to; else the most probable choice


class Box(NamedTuple):
    """An object in a picture."""

    label: str
    score: float
    xyxy: tuple[float, float, float, float]  # pixels of the picture
    mask: np.ndarray | None = None  # bool [H, W] of the picture, from a judge that segments


OBJECTS, COUNTING = "objects", "counting"  # what is asked of a detector: what is there, and where; how many of it


class Threshold(NamedTuple):
    """Which of a detector's finds count. Scores of different detectors are on different scales, so each detector has
    its own."""

    least: float  # confidence that a find must exceed
    source: str  # who uses this one with this detector
    calibrated: bool  # whether it was compared with what people see, for this purpose
    overlap: float = 1.0  # intersection over union above which two finds of one label are one thing; 1: never


class Answerer(Protocol):
    """Role `vqa`."""

    card: Card

    def answer(self, pictures: Sequence[np.ndarray], asked: Sequence[Sequence[Query]]) -> list[list[Answer]]:
        """Answers [picture][question]."""


Text = str | tuple[str, ...]  # several wordings of one thing: the mean of their unit vectors stands for them


class Comparer(Protocol):
    """Role `clip`."""

    card: Card

    def compare(self, pictures: Sequence[np.ndarray], texts: Sequence[Sequence[Text]]) -> list[np.ndarray]:
        """Cosines float32 [T_i] of each picture with its texts; not scaled."""


class Detector(Protocol):
    """Role `detector`."""

    card: Card
    thresholds: Mapping[str, Threshold]  # for OBJECTS and COUNTING

    def detect(self, pictures: Sequence[np.ndarray], labels: Sequence[Sequence[str]], least: float) -> list[list[Box]]:
        """Boxes of each picture with at least this score, best first. A judge with a vocabulary of its own looks for
        all of that, and gives every box whatever the labels."""


class Depth(Protocol):
    """Role `depth`."""

    card: Card

    def depth(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        """float32 [H, W] of each picture's size: larger is nearer."""


class Embedder(Protocol):
    """Role `sentences`."""

    card: Card

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [N, D], each of length 1."""


class Judges(NamedTuple):
    """The judges at hand: those of roles that nobody needs are None, and not loaded."""

    vqa: Answerer | None = None
    clip: Comparer | None = None
    detector: Detector | None = None
    depth: Depth | None = None
    sentences: Embedder | None = None
