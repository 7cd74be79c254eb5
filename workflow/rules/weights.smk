# Where a pretrained LMM's weights are, and what its jobs need.

from silmm.settings import FOLDERS


def by_size(small, large):
    """A resources function: what a job needs with an LMM of ShapeWorld or random weights, and with a pretrained one."""
    return lambda wildcards: large if is_large(wildcards.lmm) else small


def memory(small, large=None):
    """A resources function: megabytes, chosen as in `by_size`; each further attempt of a job asks for as many more."""

    def mem_mb(wildcards, attempt):
        chosen = large if large and is_large(wildcards.lmm) else small
        return attempt * chosen

    return mem_mb


def is_large(lmm):
    """Whether an LMM is pretrained, and fills a GPU."""
    return lmm in arms.ADOPTED and not any(
        is_made(lmm, folder) for folder in weights_of(lmm).values()
    )


def random_weights(lmm):
    """The folder of the tiny model with random weights, as the config's `adopt.weights` may name it."""
    return str(Path(RESULTS, lmm, "random_weights"))


def is_made(lmm, folder):
    """Whether a folder is that, or in it: a tiny model may have several."""
    return Path(folder).is_relative_to(random_weights(lmm))


def weights_of(lmm):
    """The folders of a pretrained LMM's weights, by the config's keys."""
    own = (PLANS.get(lmm) or arms.plan(config, lmm)).settings["adopt"]
    folders = {key: getattr(own, key) for key in FOLDERS}
    return {key: str(Path(folder)) for key, folder in folders.items() if folder}


def weights_files(wildcards):
    """What a pretrained base depends on: its weights' files, as far as they are there, or the random ones. Diffusion
    pipelines have theirs in folders."""
    folders = weights_of(wildcards.lmm).values()
    made = [folder for folder in folders if is_made(wildcards.lmm, folder)]
    files = [
        str(path)
        for folder in folders
        if folder not in made and Path(folder).is_dir()
        for path in [*Path(folder).glob("*"), *Path(folder).glob("[!.]*/*")]
        if path.is_file()
    ]
    return [
        *(f"<results>/{wildcards.lmm}/random_weights" for _ in made[:1]),
        *sorted(files),
    ]


def missing_weights():
    """One line for each folder of weights that is neither there nor made here."""
    return [
        f"config: {lmm}.adopt.{key} is {folder}: no such folder: download the weights, or name the folder with them"
        for lmm in ADOPTED
        for key, folder in weights_of(lmm).items()
        if not is_made(lmm, folder) and not Path(folder).is_dir()
    ]


def require(missing):
    """WorkflowError with these lines, if there are any: before any job starts."""
    if missing:
        raise WorkflowError(*missing)
