"""For users: draw a prompt (best of N by self-score), and ask about a picture."""

from __future__ import annotations

import string
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from silmm import lmm as models
from silmm.atomic import atomic_dir, atomic_file, check_dir
from silmm.errors import InputError
from silmm.lmm.sampler import in_words, sampling_of
from silmm.outputs import PNG, check_file, png_signature
from silmm.picture_reader import AS_SEEN, PictureError, decode, read_file
from silmm.settings import Images
from silmm.stages import own_score, pictures, promises, worlds
from silmm.stages.runtime import prepare
from silmm.stages.worlds import Asked

COMMAND = "silmm draw"
SCALE, TINY = 8, 64  # pictures of at most so many pixels a side are shown this much larger


def draw(
    *,
    ckpt: Path,
    prompt: str,
    n: int,
    best: bool,
    out: Path,
    seed: int,
    settings: Images,
    threads: int = 1,
) -> None:
    """Draw n pictures and print their self-scores. `best` writes the best to the file `out`, or the first where the LMM
    wrote no question that could tell; n = 1 writes the only one, where `out` is a .png file; else a folder gets all.

    Raises InputError for a prompt without a word, or that the LMM does not take, and for an `out` that is not its own.
    """
    _refuse_empty(prompt, "prompt", "a red circle left of a blue square")
    target = _target(out, best, n)
    prepare(threads)
    lmm = models.load(ckpt)
    world = worlds.of(lmm)
    prompt = world.typed(prompt)
    sampling = sampling_of(settings)._replace(noises=1)  # one picture a sample
    try:
        keys = [[(seed, "draw", k) for k in range(n)]]
        drawn = lmm.draw([prompt], keys, sampling)
    except ValueError as error:
        raise InputError(str(error)) from None
    known = world.known(prompt)
    asked = known or own_score.ask(lmm, [prompt])[0]
    pixels = pictures.pixels_of(lmm, drawn)
    questions = own_score.texts_of([asked] * n)
    answers = promises.probabilities(pictures.answers_on(lmm, drawn, pixels, questions), questions, ckpt)
    scores = own_score.scores_of(lmm, answers, [asked] * n)
    print(f"sampling: {in_words(sampling, lmm.images)}")
    order = sorted(range(n), key=lambda k: (-(scores[k] or 0.0), k))
    _say(asked, scores, order[0] if best and asked else None, whose="" if not known else " (not the LMM's own)")
    if target.suffix.lower() == ".png":
        with atomic_file(target, PNG) as temporary:
            _picture(pixels[order[0]]).save(temporary, format="PNG", pnginfo=png_signature())
        print(f"wrote {target}" + ("" if asked or n == 1 else ": sample 0, since nothing could be scored"))
        return
    with atomic_dir(target, COMMAND) as folder:
        for k, picture in enumerate(pixels):
            _picture(picture).save(folder / f"sample_{k}.png")
    print(f"wrote {n} pictures to {target}")


def _say(asked: Asked, scores: Sequence[float | None], best: int | None, whose: str) -> None:
    """Print the questions, and each sample's score."""
    if not asked:
        print("questions: none (the LMM wrote no well-formed question, so nothing can be scored)")
        return
    print(f"questions{whose}: " + " ".join(text for text, _ in asked))
    for k, score in enumerate(scores):
        print(f"sample {k}: self-score {score:+z.3f}" + ("  <- best" if k == best else ""))


def _refuse_empty(text: str, what: str, example: str) -> None:
    if not "".join(text.split()).strip(string.punctuation):
        raise InputError(f"the {what} is empty: give one, e.g. '{example}'")


def _target(out: Path, best: bool, n: int) -> Path:
    """What to write, checked before any work: a .png file for one picture, a folder for all."""
    if best or (n == 1 and not out.is_dir() and out.suffix.lower() == ".png"):
        file = out / "best.png" if out.is_dir() else out
        if file.suffix.lower() != ".png":
            raise InputError(f"{file}: --out with --best is a .png file or an existing folder")
        check_file(file, PNG)
        return file
    if out.suffix.lower() == ".png":
        raise InputError(f"{out}: --out is a folder, unless --best or --n 1 asks for one picture")
    check_dir(out, COMMAND)
    return out


def _picture(pixels: np.ndarray) -> Image.Image:
    image = Image.fromarray(pixels)
    if max(image.size) > TINY:
        return image
    return image.resize((image.width * SCALE, image.height * SCALE), Image.Resampling.NEAREST)


def ask(*, ckpt: Path, image: Path, question: str, threads: int = 1) -> None:
    """Print the answer and its probabilities; the picture may be of any size (it is brought to the LMM's own). It is
    turned as its EXIF orientation says, and what is transparent is white.

    Raises InputError for a question without a word, or that the LMM does not take, and for what is no picture.
    """
    _refuse_empty(question, "question", "is there a red circle?")
    prepare(threads)
    try:
        pixels_HWC = decode(read_file(image), AS_SEEN).pixels_HWC
    except (OSError, PictureError) as error:
        raise InputError(f"{image}: not a picture that can be read ({error}): give a PNG, or a JPEG") from None
    lmm = models.load(ckpt)
    text = worlds.of(lmm).as_question(question)
    try:
        answers = promises.probabilities(lmm.look([pixels_HWC], [[text]]), [[text]], ckpt)
        p_yes, p_no = answers[0][0]
    except ValueError as error:
        raise InputError(str(error)) from None
    print(f"{'yes' if p_yes > p_no else 'no'}  p_yes={p_yes:.3f} p_no={p_no:.3f}")
