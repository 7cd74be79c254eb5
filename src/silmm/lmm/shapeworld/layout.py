"""How token sequences are laid out, as numpy arrays: the one place that training and inference share.

    draw   <pad>.. <bos> <draw> PROMPT <image> | v1 .. v36              predicts the visual tokens
    look   <bos> <look> <image> v1 .. v36 </image> | branch | branch .. the picture sees itself whole (prefix attention)
      branch  <ask_image> QUESTION yes|no   or   <list> OBJECTS <eos>   or   <ask_image> THING <where> <row_r> <col_c>
    write  <bos> <write> <SUBCATEGORY> | PROMPT <eos>
    ask    <pad>.. <bos> <ask> PROMPT <list> | QUESTION ? QUESTION ? .. <eos>

Prompts are padded on the left, so that what follows stands at a fixed place; branches are packed one after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from silmm.errors import TextError
from silmm.lmm.shapeworld.vocab import Vocab
from silmm.shapeworld.language import Thing
from silmm.shapeworld.scene import GRID, Obj, Scene
from silmm.typed_json import short

L_IMAGE = GRID * GRID
PROMPT_WORDS = 16  # longest prompt that fits
QUESTION_WORDS = 17  # longest question that fits
DRAW_PREFIX = PROMPT_WORDS + 3
LOOK_PREFIX = L_IMAGE + 4
LOOK_IMAGE_AT = 3


def _left_padded(vocab: Vocab, head: list[int], prompts: Sequence[str], tail: list[int]) -> np.ndarray:
    out = np.full((len(prompts), PROMPT_WORDS + len(head) + len(tail)), vocab.pad, np.int64)
    for row, prompt in zip(out, prompts, strict=True):
        words = vocab.encode(prompt)
        if len(words) > PROMPT_WORDS:
            raise TextError(f"prompt has {len(words)} words, more than the {PROMPT_WORDS} that fit: {short(prompt)}")
        row[PROMPT_WORDS - len(words) :] = [*head, *words, *tail]
    return out


def draw_prefix(vocab: Vocab, prompts: Sequence[str]) -> np.ndarray:
    """Ids `[n, DRAW_PREFIX]`."""
    return _left_padded(vocab, [vocab.bos, vocab.ids["<draw>"]], prompts, [vocab.ids["<image>"]])


def ask_prefix(vocab: Vocab, prompts: Sequence[str]) -> np.ndarray:
    """Ids `[n, PROMPT_WORDS + 3]`."""
    return _left_padded(vocab, [vocab.bos, vocab.ids["<ask>"]], prompts, [vocab.ids["<list>"]])


def write_prefix(vocab: Vocab, subcategories: Sequence[str]) -> np.ndarray:
    """Ids `[n, 3]`."""
    return np.array([[vocab.bos, vocab.ids["<write>"], vocab.ids[f"<{name}>"]] for name in subcategories], np.int64)


def look_prefix(vocab: Vocab, codes_NL: np.ndarray) -> np.ndarray:
    """Ids `[n, LOOK_PREFIX]` of visual codes `[n, 36]`."""
    n = len(codes_NL)
    head = np.tile([vocab.bos, vocab.ids["<look>"], vocab.ids["<image>"]], (n, 1))
    return np.concatenate([head, codes_NL + vocab.first_visual, np.full((n, 1), vocab.ids["</image>"])], 1)


class Packed(NamedTuple):
    """Branches of several pictures, packed one after another behind each picture's prefix."""

    ids: np.ndarray  # [B, T], without the prefix
    segment: np.ndarray  # [B, T]: number of the branch, -1 at padding
    positions: np.ndarray  # [B, T]
    ends: list[np.ndarray]  # for each picture, the place of the last token of each of its branches


def question_branch(vocab: Vocab, question: str) -> list[int]:
    """Ids of a question; the next token after the last one is the answer."""
    words = vocab.encode(question)
    if len(words) > QUESTION_WORDS:
        raise TextError(f"question has {len(words)} words, more than the {QUESTION_WORDS} that fit: {short(question)}")
    return [vocab.ids["<ask_image>"], *words]


def pack(vocab: Vocab, branches: Sequence[Sequence[list[int]]]) -> Packed:
    """Pack each picture's branches into one row."""
    width = max((sum(len(b) for b in row) for row in branches), default=0)
    ids = np.full((len(branches), width), vocab.pad, np.int64)
    segment, positions = np.full_like(ids, -1), np.full_like(ids, LOOK_PREFIX)
    ends = []
    for i, row in enumerate(branches):
        start, last = 0, []
        for k, branch in enumerate(row):
            stop = start + len(branch)
            ids[i, start:stop], segment[i, start:stop] = branch, k
            positions[i, start:stop] = LOOK_PREFIX + np.arange(len(branch))
            last.append(stop - 1)
            start = stop
        ends.append(np.array(last, np.int64))
    return Packed(ids, segment, positions, ends)


def look_mask(packed: Packed) -> tuple[np.ndarray, np.ndarray]:
    """Boolean mask `[B, 1, T, T]` and positions `[B, T]` of pictures followed by packed branches.

    The picture's tokens see each other; a branch sees the picture and its own past, never another branch.
    """
    n, width = packed.ids.shape
    total = LOOK_PREFIX + width
    mask = np.zeros((n, total, total), bool)
    mask[:, :, :LOOK_PREFIX] = True
    same = packed.segment[:, :, None] == packed.segment[:, None, :]
    mask[:, LOOK_PREFIX:, LOOK_PREFIX:] = same & np.tril(np.ones((width, width), bool))
    prefix = np.broadcast_to(np.arange(LOOK_PREFIX), (n, LOOK_PREFIX))
    return mask[:, None], np.concatenate([prefix, packed.positions], 1)


def list_branch(vocab: Vocab, scene: Scene) -> list[int]:
    """What the picture holds, object by object in reading order; a training target that teaches to see."""
    ids = [vocab.ids["<list>"]]
    for o in sorted(scene.objects, key=lambda o: (o.row, o.col)):
        words = (f"<row_{o.row}>", f"<col_{o.col}>", o.size, o.texture, o.color, o.shape)
        ids += [vocab.ids[w] for w in words]
    if scene.links:
        ids.append(vocab.ids["linked"])
    return [*ids, vocab.eos]


def causal_mask(ids_BT: np.ndarray, pad: int) -> np.ndarray:
    """Boolean `[B, 1, T, T]`: causal, padding unseen (a padded row sees itself, so that no softmax is empty)."""
    n = ids_BT.shape[1]
    mask = np.tril(np.ones((n, n), bool)) & (ids_BT != pad)[:, None, :]
    return (mask | np.eye(n, dtype=bool))[:, None]


def where_branch(vocab: Vocab, thing: Thing, obj: Obj) -> list[int]:
    """Where the one object that the thing describes stands; teaches to find, which relations need."""
    words = ("<ask_image>", "a", *thing.words().split(), "<where>", f"<row_{obj.row}>", f"<col_{obj.col}>")
    return [vocab.ids[w] for w in words]
