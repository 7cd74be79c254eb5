"""The last line of a failed job's log: a job that was ended from outside (memory, time) says nothing itself.

Snakemake's main process, which outlives its jobs, adds it when it reports the failure, before it shows the log.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

# How a command of ours, or Python, ends when it has something to say.
_SAYS_WHY = re.compile(r"silmm [\w-]+: error: .|silmm: process \d+, which wanted|[\w.]+(Error|Exception)\b")
_END = 4000  # bytes of a log that are looked at


def listen(workflow: Any) -> None:
    """Finish the logs of the jobs that Snakemake's main process reports as failed."""
    logging.getLogger("snakemake.logging").addFilter(lambda record: _finish(record, workflow))


def _finish(record: logging.LogRecord, workflow: Any) -> bool:
    """True: nothing is filtered."""
    if getattr(record, "event", None) == "job_error":
        said = vars(record)
        whole = [Path(str(file)) for file in said["output"]]
        for job in [job for job in workflow.dag.jobs if workflow.dag.jobid(job) == said["jobid"]]:
            for log in map(Path, job.log):
                # Of a group, all jobs are reported: those that had ended, and those that had not begun.
                if not said["indent"] or (log.exists() and not all(file.exists() for file in whole)):
                    finish(log, asked(job, workflow))
    return True


def asked(job: Any, workflow: Any) -> str:
    """What a job asked for, and whether it asks for more when it is tried again."""
    of = job.resources
    by_hand = workflow.resource_settings._parsed_overwrite_resources.get(job.rule.name, {}).get("mem_mb")
    text = f"it had asked for {of.get('mem_mb', '?')} MB of memory and {of.get('runtime', '?')} minutes"
    text += f" (attempt {job.attempt} of {(job.restart_times or 0) + 1})"
    if by_hand is not None and "attempt" not in str(by_hand.raw):
        more = f"{job.rule.name}:mem_mb='{by_hand.raw} * attempt'"
        text += f"; its memory was set by hand and does not grow: {more} would"
    return text


def finish(log: Path, asked: str) -> None:
    """Add what was asked for as the last line, unless the log ends with a reason; it is text in any case."""
    content = log.read_bytes() if log.exists() else b""
    try:
        content.decode()
    except UnicodeDecodeError:  # cut in the middle of a character
        content = content.decode(errors="backslashreplace").encode()
        log.write_bytes(content)
    lines = re.split(r"[\r\n]+", content[-_END:].decode(errors="replace").strip())
    if not _SAYS_WHY.match(lines[-1]):
        log.parent.mkdir(parents=True, exist_ok=True)
        text = "silmm: this job ended without saying why, as one that runs out of memory or time, is cancelled or loses"
        with log.open("ab") as stream:
            stream.write(b"" if content[-1:] in (b"", b"\n") else b"\n")
            stream.write(f"{text} its machine: {asked} (docs/cluster.md)\n".encode())
