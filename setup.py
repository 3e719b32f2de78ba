"""Packaging around tools/native_build.py; the metadata is in pyproject.toml."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "tools"))

from build_config import BuildError, Config, configure  # noqa: E402
from native_build import build  # noqa: E402


def configured(in_place: bool) -> Config:
    try:
        return configure(os.environ, in_place)
    except BuildError as error:
        sys.exit(f"maskconv_ext: {error}")


class NativeBuild(build_ext):
    """build_ext that leaves compiling to ninja; in place with --inplace and for editable installs."""

    def run(self) -> None:
        package = (ROOT if self.inplace else Path(self.build_lib)) / "maskconv_ext"
        if not self.inplace:
            for stale in package.glob("*.so"):
                stale.unlink()  # of an earlier build with other settings
        try:
            built = build(configured(bool(self.inplace)), package)
        except BuildError as error:
            sys.exit(f"maskconv_ext: {error}")
        self.built = [] if self.inplace else [str(path) for path in built]

    def get_outputs(self) -> list[str]:
        return getattr(self, "built", [])  # asked for before run() too

    def get_output_mapping(self) -> dict[str, str]:
        return {}

    def get_source_files(self) -> list[str]:
        return []  # MANIFEST.in names them


class NeutralWheel(bdist_wheel):
    """Tags the wheel by what is inside: the library is bound to a platform, to no Python and to no torch."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.root_is_pure = not configured(in_place=False).native

    def get_tag(self) -> tuple[str, str, str]:
        python, abi, platform = super().get_tag()
        config = configured(in_place=False)
        if config.native and not config.emulation:
            python, abi = "py3", "none"
        return python, abi, platform


setup(
    # Without sources: it makes the build platform-specific, and NativeBuild finds the sources itself.
    ext_modules=[Extension("maskconv_ext._native", sources=[])],
    cmdclass={"build_ext": NativeBuild, "bdist_wheel": NeutralWheel},
)
