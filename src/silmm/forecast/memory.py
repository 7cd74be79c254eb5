"""The memory of a device that each stage of a pretrained LMM takes: the peak of its passes, by what it is for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from silmm.align.trainer import TEXTS
from silmm.forecast import decoder as passes
from silmm.forecast.lengths import Lengths
from silmm.lmm.hf.shape import Shape
from silmm.settings import Adopt, Align, Images

COLUMNS = ("weights", "cache", "passes", "logits", "pictures", "optimiser")


class Phase(NamedTuple):
    """What lives together at one time in a stage, in bytes."""

    name: str
    weights: int
    cache: int = 0  # keys and values
    passes: int = 0  # activations
    logits: int = 0
    pictures: int = 0  # their encoder's and decoder's activations
    optimiser: int = 0  # LoRA's gradients and AdamW's means

    @property
    def total(self) -> int:
        """All of it."""
        return sum(getattr(self, name) for name in COLUMNS)


def stages(shape: Shape, settings: Mapping[str, Any], weights: Mapping[str, int], lengths: Lengths) -> dict[str, Phase]:
    """The phase of each stage that takes most. `weights`: bytes of all weights that each stage has in memory."""
    found = {
        "prompts": writing(shape, settings["adopt"], lengths.write, lengths.prompt),
        "images": drawing(shape, settings["adopt"], settings["images"], lengths.draw),
        "questions": writing(shape, settings["adopt"], lengths.ask, settings["questions"].max_tokens),
        "score": looking(shape, settings["adopt"], lengths),
        "align": learning(shape, settings["adopt"], settings["align"], lengths),
    }
    return {
        stage: max((phase._replace(weights=weights[stage]) for phase in phases), key=lambda phase: phase.total)
        for stage, phases in found.items()
    }


def writing(shape: Shape, adopt: Adopt, before: int, after: int) -> list[Phase]:
    """Of steps 1 and 3."""
    rows, speaker = adopt.rows, shape.speaker
    cache = passes.cache(speaker, rows, before + after)
    return [
        Phase("reading the instruction", 0, cache, passes.reading(speaker, rows, before)),
        Phase("writing", 0, cache, logits=passes.logits(rows, shape.words)),
    ]


def drawing(shape: Shape, adopt: Adopt, images: Images, before: int) -> list[Phase]:
    """Of step 2."""
    if not shape.codes:  # features: no cache, and nothing is chosen
        read = passes.reading(shape.painter, adopt.rows, before + shape.places)
        return [Phase("drawing", 0, passes=read), Phase("making pictures", 0, pictures=shape.render)]
    painter, branches = shape.painter, 1 + (images.guidance != 1.0)
    samples = max(1, adopt.rows // branches)
    rows = branches * min(samples, -(-samples // images.n) + 1)  # different prompts in a pass
    first = passes.cache(painter, rows, before)
    cache = passes.cache(painter, samples * branches, before + shape.places)
    return [
        Phase("reading the prompts", 0, first, passes.reading(painter, rows, before)),
        Phase("drawing", 0, cache, logits=passes.logits(samples, shape.codes)),
        Phase("making pictures", 0, pictures=shape.render),
    ]


def looking(shape: Shape, adopt: Adopt, lengths: Lengths) -> list[Phase]:
    """Of step 4. The pictures are read from their files."""
    speaker, rows = shape.speaker, shape.looked_at
    before = shape.seen + lengths.look
    asked = lengths.questions * lengths.question
    cache = passes.cache(speaker, rows, before + asked)
    embeds = rows * before * speaker.width * speaker.item
    return [
        Phase("encoding pictures", 0, pictures=shape.see + embeds),
        Phase("reading pictures", 0, cache, passes.reading(speaker, rows, before, masked=False), pictures=embeds),
        Phase("answering", 0, cache, passes.reading(speaker, rows, asked, before + asked)),
    ]


def learning(shape: Shape, adopt: Adopt, align: Align, lengths: Lengths) -> list[Phase]:
    """Of step 5."""
    painter, places = shape.painter, lengths.draw + shape.places
    optimiser = passes.lora_weights(painter, adopt.rank) * passes.LORA_STATE
    pairs = align.rows or align.batch
    sequences = pairs * (2 if shape.codes else 1)  # features are those of the prompt, whatever the pair
    rows, masked = min(adopt.rows, sequences), pairs > 1  # the two of a pair have one prompt
    kept = passes.kept(painter, sequences, places)
    phases = [
        Phase(
            "backward pass", 0, passes=passes.learning(painter, rows, places, masked=masked) + kept, optimiser=optimiser
        ),
        Phase("gradient of logits", 0, passes=kept, logits=sequences * shape.learned, optimiser=optimiser),
    ]
    if align.text_weight and shape.speaker is shape.painter:
        words = lengths.ask + lengths.prompt
        text = passes.learning(shape.speaker, min(adopt.rows, TEXTS), words) + passes.kept(shape.speaker, TEXTS, words)
        phases.append(Phase("backward pass of own texts", 0, passes=text, optimiser=optimiser))
    return phases
