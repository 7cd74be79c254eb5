"""For users: draw a prompt (best of N by self-score), and ask about a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from silmm import lmm as models
from silmm.errors import InputError
from silmm.records import atomic_dir, atomic_file
from silmm.settings import Images
from silmm.stages import own_score, pictures, promises, worlds
from silmm.stages.runtime import prepare
from silmm.stages.sampler import in_words, sampling_of

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
    """Draw n pictures and print their self-scores; `best` writes the best to the file `out`, else all to a folder."""
    target = _target(out, best)
    prepare(threads)
    lmm = models.load(ckpt)
    prompt = worlds.of(lmm).typed(prompt)
    sampling = sampling_of(settings)._replace(noises=1)  # one picture a sample
    try:
        keys = [[(seed, "draw", k) for k in range(n)]]
        drawn = lmm.draw([prompt], keys, sampling)
    except ValueError as error:
        raise InputError(str(error)) from None
    (asked,) = own_score.ask(lmm, [prompt])
    pixels = pictures.pixels_of(lmm, drawn)
    questions = own_score.texts_of([asked] * n)
    answers = promises.probabilities(pictures.answers_on(lmm, drawn, pixels, questions), questions, ckpt)
    scores = [float("nan") if s is None else s for s in own_score.scores_of(lmm, answers, [asked] * n)]
    print(f"sampling: {in_words(sampling, lmm.images)}")
    if asked:
        print("questions: " + " ".join(text for text, _ in asked))
    else:
        print("questions: none (the LMM wrote no well-formed question, so there are no scores)")
    order = sorted(range(n), key=lambda k: (-scores[k] if asked else 0.0, k))
    for k in range(n):
        print(f"sample {k}: self-score {scores[k]:+.3f}" + ("  <- best" if best and k == order[0] else ""))
    if best:
        with atomic_file(target) as temporary:
            _picture(pixels[order[0]]).save(temporary, format="PNG")
        print(f"wrote {target}")
        return
    with atomic_dir(target) as folder:
        for k, picture in enumerate(pixels):
            _picture(picture).save(folder / f"sample_{k}.png")
    print(f"wrote {n} pictures to {target}")


def _target(out: Path, best: bool) -> Path:
    """What to write, checked before any work: a .png file for the best picture, a new or empty folder for all."""
    if best:
        file = out / "best.png" if out.is_dir() else out
        if file.suffix.lower() != ".png":
            raise InputError(f"{file}: --out with --best is a .png file or an existing folder")
        return file
    if out.is_file() or out.suffix.lower() == ".png":
        raise InputError(f"{out}: --out is a folder, unless --best asks for one picture")
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out}: not empty: give a new folder, so that nothing of yours is replaced")
    return out


def _picture(pixels: np.ndarray) -> Image.Image:
    image = Image.fromarray(pixels)
    if max(image.size) > TINY:
        return image
    return image.resize((image.width * SCALE, image.height * SCALE), Image.Resampling.NEAREST)


def ask(*, ckpt: Path, image: Path, question: str, threads: int = 1) -> None:
    """Print the answer and its probabilities; the picture may be of any size (it is brought to the LMM's own)."""
    prepare(threads)
    lmm = models.load(ckpt)
    try:
        picture = Image.open(image).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # as Pillow says that it is none
        raise InputError(f"{image}: not a picture that can be read ({error}): give a PNG, or a JPEG") from None
    text = worlds.of(lmm).as_question(question)
    try:
        answers = promises.probabilities(lmm.look([np.asarray(picture)], [[text]]), [[text]], ckpt)
        p_yes, p_no = answers[0][0]
    except ValueError as error:
        raise InputError(str(error)) from None
    print(f"{'yes' if p_yes > p_no else 'no'}  p_yes={p_yes:.3f} p_no={p_no:.3f}")
