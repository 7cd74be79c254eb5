"""Builds the optional C++ extension `silmm.kernels._C`; everything else about the package is in pyproject.toml.

The extension needs pybind11, ninja and a C++17 compiler, and no torch headers. Where it cannot be built the package
installs without it, and the plain-torch reference serves in its place.
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

SOURCES = sorted(str(path) for path in Path("csrc").glob("*.cpp"))
HEADERS = sorted(str(path) for path in Path("csrc").glob("*.h"))
# No -march: one build serves every x86-64 (or arm64) machine. -ffp-contract=off: a fused multiply-add rounds
# differently, and the kernels promise the same bits as the reference. The two -fno-...math flags let comparisons and
# roundings vectorise; no result depends on them.
MATHFLAGS = ["-ffp-contract=off", "-fno-trapping-math", "-fno-math-errno"]
CXXFLAGS = ["-O3", "-std=c++17", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", *MATHFLAGS]
LDFLAGS = ["-shared", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]

NINJA_FILE = """\
rule compile
  command = {cxx} {cxxflags} -MMD -MF $out.d -c $in -o $out
  depfile = $out.d
  deps = gcc
rule link
  command = {cxx} {ldflags} $in -o $out
"""


def compiler() -> str:
    """The C++ compiler: $CXX, or the first one found."""
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if name and shutil.which(shlex.split(name)[0]):
            return name
    raise RuntimeError("no C++ compiler found (looked for $CXX, c++, g++, clang++)")


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
    """Writes a small build.ninja and runs it; a failure is a warning."""

    def build_extension(self, ext: Extension) -> None:
        """Compile `ext` to the place where setuptools expects it."""
        try:
            self._run_ninja(ext, Path(self.get_ext_fullpath(ext.name)).resolve())
        except (RuntimeError, ImportError, OSError, subprocess.CalledProcessError) as error:
            in_source = Path("src", *ext.name.split(".")).with_suffix(sysconfig.get_config_var("EXT_SUFFIX"))
            in_source.unlink(missing_ok=True)  # an editable install must not go on with an older build
            print(f"WARNING: {ext.name} was not built; the plain-torch reference serves instead. Reason: {error}")

    def _run_ninja(self, ext: Extension, target: Path) -> None:
        import pybind11

        build = Path(self.build_temp).resolve() / sysconfig.get_config_var("SOABI")
        build.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        includes = [sysconfig.get_paths()["include"], pybind11.get_include()]
        flags = [*CXXFLAGS, *(f"-isystem{shlex.quote(path)}" for path in includes)]
        lines = [NINJA_FILE.format(cxx=compiler(), cxxflags=" ".join(flags), ldflags=" ".join(LDFLAGS))]
        objects = []
        for source in ext.sources:
            objects.append(escape(build / f"{Path(source).stem}.o"))
            lines.append(f"build {objects[-1]}: compile {escape(Path(source).resolve())}")
        lines.append(f"build {escape(target)}: link {' '.join(objects)}\n")
        (build / "build.ninja").write_text("\n".join(lines))
        subprocess.run([ninja_program(), "-C", str(build)], check=True)


setup(
    ext_modules=[Extension("silmm.kernels._C", SOURCES, depends=HEADERS, optional=True)],
    cmdclass={"build_ext": BuildExt},
)
