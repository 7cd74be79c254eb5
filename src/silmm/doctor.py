"""`silmm doctor`: what is installed, what this machine has, and which implementation of each kernel serves, and why.

Versions are read from the packages' metadata, so nothing but torch is imported.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from silmm import __version__
from silmm.errors import InputError

PACKAGES = ("torch", "triton", "numpy", "snakemake", "transformers", "diffusers")
VARIABLES = ("SILMM_IMPL", "SILMM_ISA", "TRITON_INTERPRET")
Line = tuple[str, str, str]  # of a section: name, value, why


def run() -> None:
    """Print the report; InputError where SILMM_IMPL or SILMM_ISA has a wrong value."""
    try:
        print(report())
    except ValueError as error:
        raise InputError(str(error)) from None


def report() -> str:
    """The report: sections of aligned lines. ValueError where SILMM_IMPL or SILMM_ISA has a wrong value."""
    sections = (versions, devices, building, extensions, implementations, kernels, environment)
    lines = [(section.__name__, *line) for section in sections for line in section()]
    return "\n".join(_aligned(lines))


def versions() -> Iterator[Line]:
    """Of silmm, Python and the packages that matter most."""
    yield "silmm", __version__, ""
    yield "Python", platform.python_version(), ""
    for package in PACKAGES:
        try:
            yield package, metadata.version(package), ""
        except metadata.PackageNotFoundError:
            yield package, "not installed", ""


def devices() -> Iterator[Line]:
    """The processor, with the instruction set that kernels use, and the CUDA devices."""
    import torch

    from silmm.kernels import _dispatch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield "processor", processor(), f"{cores} cores"
    allowed, module = _dispatch.isa(), _dispatch.extension()[0]
    if module is None:
        yield "instruction set", "unknown", "the C++ extension is not there to tell"
    else:
        why = f"SILMM_ISA allows {_dispatch.ISAS[allowed]}" if allowed < module.isa() else "the highest that it has"
        yield "instruction set", _dispatch.ISAS[min(module.isa(), allowed)], why
    if not torch.cuda.is_available():
        why = "this torch is built without CUDA" if torch.version.cuda is None else "torch finds no driver or no GPU"
        yield "CUDA device", "none", why
        return
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        capability = f"compute capability {properties.major}.{properties.minor}"
        yield f"cuda:{number}", properties.name, f"{capability}, {properties.total_memory >> 30} GiB"


def processor() -> str:
    """The processor's name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def building() -> Iterator[Line]:
    """The compilers that setup.py would find."""
    compilers = [name for name in (os.environ.get("CXX"), "c++", "g++", "clang++") if name]
    found = next((path for name in compilers if (path := shutil.which(shlex.split(name)[0]))), None)
    yield "C++ compiler", found or "none", "" if found else f"looked for $CXX{', '.join(['', *compilers[-3:]])}"
    home = os.environ.get("CUDA_HOME")
    nvcc = (home and shutil.which("nvcc", path=str(Path(home, "bin")))) or shutil.which("nvcc")
    yield "nvcc", nvcc or "none", "" if nvcc else "looked in $CUDA_HOME/bin and on the path"


def extensions() -> Iterator[Line]:
    """The two extensions of the kernels."""
    from silmm.kernels import _dispatch

    for name, what in (("_C", "C++"), ("_CUDA", "CUDA")):
        module, state = _dispatch.extension(name)
        archs = f"compute capabilities {module.archs}" if hasattr(module, "archs") else ""
        yield what, "built" if module else "none", archs if module else state


def implementations() -> Iterator[Line]:
    """Which kinds of implementation can be called here, or why not."""
    from silmm.kernels import _dispatch

    for impl in _dispatch.ALL:
        state = _dispatch.state(impl)
        yield impl, state if state == _dispatch.READY else "not there", "" if state == _dispatch.READY else state


def kernels() -> Iterator[Line]:
    """What `auto` picks for each op on each type of device that is there, and why."""
    import torch

    from silmm.kernels import _dispatch

    for op in _dispatch.OPS:
        for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
            choice = _dispatch.pick(op, device)
            yield f"{op}, {device}", choice.impl, choice.why


def environment() -> Iterator[Line]:
    """The variables that steer the kernels, where they are set."""
    yield from ((name, os.environ[name], "") for name in VARIABLES if name in os.environ)


def _aligned(lines: list[tuple[str, str, str, str]]) -> Iterator[str]:
    """A title before the lines of each section; the columns of all sections aligned."""
    first, second = (max(len(line[i]) for line in lines) for i in (1, 2))
    before = ""
    for title, name, value, why in lines:
        if title != before:
            yield f"{'' if not before else chr(10)}{title}"
            before = title
        yield f"  {name.ljust(first)}  {value.ljust(min(second, 44))}  {why}".rstrip()
