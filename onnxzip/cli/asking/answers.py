"""Options that print something and end: --version and --completion."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import NoReturn

from onnxzip.cli.streams import write_output
from onnxzip.errors import did_you_mean

_RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino")
"""Packages that bring the module onnxruntime; one is installed, as a rule."""


class PrintVersion(argparse.Action):
    """Print the versions that a file depends on, and exit."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """Print them."""
        runtimes = [f"{name} {found}" for name in _RUNTIMES if (found := _version(name))]
        with_it = ", ".join([*runtimes, f"Python {platform.python_version()}"])
        write_output(f"onnxzip {version('onnxzip')} ({with_it})\n")
        parser.exit()


class PrintCompletion(argparse.Action):
    """Print what makes a shell complete the options, and exit."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        _: argparse.Namespace,
        shell: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> NoReturn:
        """Print it for one of the shells that shtab knows."""
        import shtab

        from onnxzip.cli.pass_flags import add_pass_options

        known = shtab.SUPPORTED_SHELLS
        if shell not in known:
            meant = did_you_mean(str(shell), known, f"there are {', '.join(known)}")
            parser.error(f"argument {option_string}: no completion for '{shell}'; {meant}")
        add_pass_options(parser)
        for action in parser._actions:
            if action.metavar in _FILES or not action.option_strings:
                action.complete = shtab.FILE  # type: ignore[attr-defined]  # where shtab looks for it
        write_output(shtab.complete(parser, str(shell)) + "\n")
        parser.exit()


_FILES = ("FILE", "FILE|DIR", "FILE.npy", "LIB", "ORIGINAL")
"""What values that are files are called."""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
