"""Builds the optional extensions; everything else about the package is in pyproject.toml.

    silmm.kernels._C      C++: needs pybind11, ninja and a C++17 compiler, and no torch headers
    silmm.kernels._CUDA   CUDA: also needs nvcc, and no GPU. SILMM_CUDA=auto (the default) builds it where nvcc is
                          found, 0 never, 1 always: then it is an error if it cannot be built. SILMM_CUDA_ARCHS names
                          the compute capabilities (default "80 90"); PTX of the last serves newer ones.

Where one cannot be built the package installs without it, and another implementation serves in its place.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


def sources(folder: str, *suffixes: str) -> list[str]:
    """The files of a folder with these suffixes, sorted."""
    return sorted(str(path) for path in Path(folder).iterdir() if path.suffix in suffixes)


# No -march: one build serves every x86-64 (or arm64) machine. -ffp-contract=off: a fused multiply-add rounds
# differently, and the kernels promise the same bits as the reference. The two -fno-...math flags let comparisons and
# roundings vectorise; no result depends on them.
MATHFLAGS = ["-ffp-contract=off", "-fno-trapping-math", "-fno-math-errno"]
CXXFLAGS = ["-O3", "-std=c++17", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", *MATHFLAGS]
LDFLAGS = ["-shared", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]
# The runtime is linked statically: the module loads where there is no driver.
NVCCFLAGS = ["-O3", "-std=c++17", "--fmad=false", "-Xcompiler", "-fPIC,-fvisibility=hidden,-Wall", "-cudart", "static"]
CUDA_MODES = ("auto", "0", "1")

NINJA_FILE = """\
cxxflags = {cxxflags}
rule compile
  command = {cxx} $cxxflags -MMD -MF $out.d -c $in -o $out
  depfile = $out.d
  deps = gcc
rule nvcc
  command = {nvcc} {nvccflags} -MD -MF $out.d -c $in -o $out
  depfile = $out.d
  deps = gcc
rule link
  command = {link} $in -o $out
"""


def compiler() -> str:
    """The C++ compiler: $CXX, or the first one found."""
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if name and shutil.which(shlex.split(name)[0]):
            return name
    raise RuntimeError("no C++ compiler found (looked for $CXX, c++, g++, clang++)")


def nvcc_program() -> str:
    """The CUDA compiler: $CUDA_HOME/bin/nvcc, or the one on the path."""
    home = os.environ.get("CUDA_HOME")
    found = (home and shutil.which("nvcc", path=str(Path(home, "bin")))) or shutil.which("nvcc")
    if not found:
        raise RuntimeError("nvcc not found (looked in $CUDA_HOME/bin and on the path)")
    return found


def cuda_mode() -> str:
    """SILMM_CUDA."""
    mode = os.environ.get("SILMM_CUDA", "auto")
    if mode not in CUDA_MODES:
        raise SystemExit(f"SILMM_CUDA: expected {', '.join(CUDA_MODES)}, given {mode!r}")
    return mode


def cuda_archs() -> list[str]:
    """SILMM_CUDA_ARCHS: compute capabilities without their dot, separated by spaces, commas or semicolons."""
    given = os.environ.get("SILMM_CUDA_ARCHS", "80 90").replace(",", " ").replace(";", " ").split()
    archs = [arch.replace(".", "") for arch in given]
    if not archs or not all(arch[:2].isdigit() for arch in archs):
        raise SystemExit(f"SILMM_CUDA_ARCHS: expected compute capabilities such as '80 90', given {' '.join(given)!r}")
    return archs


def arch_flags(archs: list[str]) -> list[str]:
    """Machine code for each, and PTX of the last for what comes after it."""
    flags = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in archs]
    return [*flags, f"-gencode=arch=compute_{archs[-1]},code=compute_{archs[-1]}"]


def ninja_program() -> str:
    """The ninja of the Python package, or of the machine."""
    try:
        from ninja import BIN_DIR
    except ImportError:
        found = shutil.which("ninja")
    else:
        found = shutil.which("ninja", path=BIN_DIR) or shutil.which("ninja")
    if not found:
        raise RuntimeError("ninja not found: pip install ninja")
    return found


def escape(path: Path) -> str:
    """A path as build.ninja wants it."""
    return str(path).replace("$", "$$").replace(" ", "$ ").replace(":", "$:")


class BuildExt(build_ext):
    """Writes a small build.ninja for each extension and runs it; a failure is a warning, unless SILMM_CUDA=1."""

    def build_extension(self, ext: Extension) -> None:
        """Compile `ext` to the place where setuptools expects it."""
        cuda = ext.name.endswith("_CUDA")
        mode = cuda_mode()
        try:
            if cuda and mode == "0":
                raise RuntimeError("SILMM_CUDA is 0")
            self._run_ninja(ext, Path(self.get_ext_fullpath(ext.name)).resolve(), cuda)
        except (RuntimeError, ImportError, OSError, subprocess.CalledProcessError) as error:
            in_source = Path("src", *ext.name.split(".")).with_suffix(sysconfig.get_config_var("EXT_SUFFIX"))
            in_source.unlink(missing_ok=True)  # an editable install must not go on with an older build
            if cuda and mode == "1":
                raise SystemExit(f"{ext.name} was not built, but SILMM_CUDA is 1. Reason: {error}") from error
            serves = "Triton" if cuda else "the plain-torch reference"
            print(f"WARNING: {ext.name} was not built; {serves} serves instead. Reason: {error}")

    def _run_ninja(self, ext: Extension, target: Path, cuda: bool) -> None:
        import pybind11

        build = Path(self.build_temp).resolve() / sysconfig.get_config_var("SOABI") / ext.name.split(".")[-1]
        build.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        includes = [sysconfig.get_paths()["include"], pybind11.get_include()]
        flags = [*CXXFLAGS, *(f"-isystem{shlex.quote(path)}" for path in includes)]
        nvcc, nvccflags, link = "false", [], [compiler(), *LDFLAGS]
        if cuda:
            nvcc, archs = nvcc_program(), cuda_archs()
            nvccflags = [*NVCCFLAGS, *arch_flags(archs)]
            flags += [f"-isystem{shlex.quote(path)}" for path in cuda_includes(nvcc)]
            flags.append(shlex.quote(f'-DSILMM_CUDA_ARCHS="{" ".join(archs)}"'))
            link = [nvcc, "-shared", "-cudart", "static"]
        text = NINJA_FILE.format(
            cxx=compiler(), cxxflags=" ".join(flags), nvcc=nvcc, nvccflags=" ".join(nvccflags), link=" ".join(link)
        )
        objects = []
        for source in map(Path, ext.sources):
            objects.append(escape(build / f"{source.name}.o"))
            rule = "nvcc" if source.suffix == ".cu" else "compile"
            text += f"build {objects[-1]}: {rule} {escape(source.resolve())}\n"
        text += f"build {escape(target)}: link {' '.join(objects)}\n"
        (build / "build.ninja").write_text(text)
        subprocess.run([ninja_program(), "-C", str(build)], check=True)


def cuda_includes(nvcc: str) -> list[str]:
    """The folders with CUDA's headers that this nvcc uses."""
    said = subprocess.run([nvcc, "--dryrun", "-c", "x.cu"], capture_output=True, text=True).stderr
    line = next((line for line in said.splitlines() if "INCLUDES=" in line), "")
    return [word.removeprefix("-I") for word in shlex.split(line.split("=", 1)[-1]) if word.startswith("-I")]


HEADERS = sources("csrc", ".h")
setup(
    ext_modules=[
        Extension("silmm.kernels._C", sources("csrc", ".cpp"), depends=HEADERS, optional=True),
        Extension(
            "silmm.kernels._CUDA",
            sources("csrc/cuda", ".cpp", ".cu"),
            depends=HEADERS + sources("csrc/cuda", ".h"),
            optional=True,
        ),
    ],
    cmdclass={"build_ext": BuildExt},
)
