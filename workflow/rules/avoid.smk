# Benchmarks' prompts, which step 1 must not write: it depends on every file, and a path without any stops the run.

from silmm.benchmarks import prompt_files

AVOID = config.get("avoid") or []
AVOIDED, NOT_AVOIDED = [], []
for path in AVOID:
    try:
        AVOIDED += [str(file) for file in prompt_files.files_of(Path(path))]
    except InputError as error:
        NOT_AVOIDED.append(f"config: avoid: {error}, or take it off the list")
