"""The options of the command line: how they are written, and their help.

Only options that were given are in the namespace, so that defaults live in `Options` alone, as do the
checks: the types here make values of text and nothing more.
"""

from __future__ import annotations

import argparse
import re
from typing import NoReturn

from onnxzip.cli.asking.answers import PrintCompletion, PrintVersion
from onnxzip.cli.asking.guide import ShowGuide
from onnxzip.cli.asking.help_text import EPILOG, USAGE
from onnxzip.cli.asking.run_flags import add_run_options
from onnxzip.cli.parsers import read_float, read_int, read_names, read_path
from onnxzip.cli.pass_flags import add_pass_options
from onnxzip.cli.trusting.flags import add_delivery_options, add_opening_options
from onnxzip.errors import UsageError, nearest
from onnxzip.measure.metrics import metrics
from onnxzip.options import Options


class Parser(argparse.ArgumentParser):
    """Raises what is wrong with the arguments."""

    @property
    def flags(self) -> frozenset[str]:
        """Every option there is, with its dashes."""
        return frozenset(self._option_string_actions)

    def takes_value(self, flag: str) -> bool:
        """Whether a long option is followed by a value."""
        action = self._option_string_actions.get(flag) if flag.startswith("--") else None
        return action is not None and action.nargs is None

    def repeats(self, flag: str) -> bool:
        """Whether an option may be given several times, for a value each."""
        return isinstance(self._option_string_actions.get(flag), argparse._AppendAction)

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong with the arguments, and what was meant by an option that is unknown."""
        unknown = re.match(r"unrecognized arguments: (--[^\s=]+)", message)
        near = nearest(unknown[1], self.flags) if unknown else ""
        meant = f"did you mean {near}? " if near else ""
        raise UsageError(f"{message} ({meant}onnxzip --help lists the options)")


class _PassHelp(argparse.Action):
    """Print the settings of every pass and exit."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        listing = Parser(
            prog="onnxzip", usage="onnxzip [--PASS-SETTING VALUE]... IN OUT", add_help=False
        )
        add_pass_options(listing)
        listing.print_help()
        parser.exit()


def make_parser() -> Parser:
    """Return the parser of everything but the settings of passes."""
    parser = Parser(
        prog="onnxzip",
        usage=USAGE,
        description="Make an ONNX model many times smaller; any stock onnxruntime loads the result.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument("paths", nargs="*", help=argparse.SUPPRESS)
    _add_loss_options(parser)
    _add_method_options(parser)
    _add_levels(parser)
    add_run_options(parser)
    add_delivery_options(parser)
    _add_modes(parser)
    return parser


def _add_loss_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("loss allowed")
    group.add_argument(
        "-c",
        "--calibration",
        type=read_path,
        metavar="FILE|DIR",
        help=".npz (one array per graph input, first axis = samples), .npy for a single input, or a "
        "folder of them; without it inputs are generated",
    )
    group.add_argument(
        "--labels", type=read_path, metavar="FILE.npy", help="true classes, for --metric top1"
    )
    group.add_argument("--metric", metavar="NAME", help=_metric_help())
    group.add_argument(
        "--tolerance",
        type=read_float,
        metavar="X",
        help=_tolerance_help(),
    )
    group.add_argument(
        "--best-effort",
        action="store_true",
        help="where no smaller file meets the tolerance, write the one that loses least, with a warning",
    )
    group.add_argument(
        "--target-size",
        metavar="SIZE",
        help="instead of a tolerance: the best model that fits, e.g. 4MB",
    )
    group.add_argument(
        "--keep",
        action="append",
        metavar="PATTERN",
        help="leave weights alone whose name matches, e.g. 'head.*'; may be repeated",
    )


def _metric_help() -> str:
    default = Options().metric
    known = (
        f"{name}{' (default)' if name == default else ''}: {metric.summary}"
        for name, metric in metrics().items()
    )
    return "; ".join([*known, "or a Python module:function"]).replace("%", "%%")


def _tolerance_help() -> str:
    limits = ", ".join(f"{name} {metric.default_limit:g}" for name, metric in metrics().items())
    least = ", ".join(name for name, metric in metrics().items() if metric.higher_is_better)
    return (
        f"largest loss allowed ({least}: least value), in the metric's own unit; by default {limits}; "
        "0.01 of top1 is one point"
    )


def _add_method_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("method")
    group.add_argument(
        "--objective",
        metavar="size|speed",
        help="size (default): every weight is rebuilt when the model is loaded; speed: nodes are "
        "computed in int8, or as factors, wherever that measures faster here",
    )
    group.add_argument(
        "--threads",
        type=read_int,
        metavar="N",
        help="threads that --objective speed times runs with (default 1)",
    )
    group.add_argument(
        "--batch",
        type=read_int,
        metavar="N",
        help="samples in a run that --objective speed times; by default 1, or as many as the model is "
        "fixed to",
    )
    group.add_argument(
        "--freeze-inputs",
        action="store_true",
        help="treat initializers that are also graph inputs as constants (old exporters)",
    )
    group.add_argument(
        "--passes", action="extend", type=read_names, metavar="A,B", help="use these passes only"
    )
    group.add_argument(
        "--skip", action="extend", type=read_names, metavar="A,B", help="do not use these passes"
    )
    group.add_argument(
        "--help-passes", action=_PassHelp, nargs=0, help="list the settings of the passes"
    )


def _add_levels(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("effort")
    levels = group.add_mutually_exclusive_group()
    for number in range(1, 10):
        text = {
            1: "-1 to -3: packed at fixed rates; fast to pack, lightest to load",
            4: "-4 to -9: entropy coded, 1.5 to 2 times smaller; -6 is the default",
        }.get(number, argparse.SUPPRESS)
        levels.add_argument(f"-{number}", action="store_const", const=number, dest="level", help=text)
    levels.add_argument("--level", type=read_int, metavar="N", help="the same as -N")
    group.add_argument(
        "--keep-names",
        action="store_true",
        help="keep internal names and doc strings, which are shortened or dropped from -6 on",
    )
    group.add_argument(
        "--load-memory",
        metavar="SIZE",
        help="most memory that decoding may add while a session is created, e.g. 60MB; what does "
        "not fit is packed, not entropy coded",
    )


def _add_modes(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("instead of compressing")
    modes = group.add_mutually_exclusive_group()
    for flag, mode, text in (
        ("-l", "list", "list inputs, outputs and weights of FILE, and how these are stored"),
        ("-t", "test", "test FILE: does it load, decode and compute"),
        ("-d", "decompress", "write FILE with plain weights again"),
        ("--bench", "bench", "compare FILE by onnxzip with what other tools make of it"),
    ):
        modes.add_argument(
            *dict.fromkeys((flag, f"--{mode}")), action="store_const", const=mode, dest="mode", help=text
        )
    group.add_argument("--against", metavar="ORIGINAL", help="with -t: the model to compare with")
    add_opening_options(group)
    group.add_argument("--json", action="store_true", help="with -l, -t and --bench: print JSON")
    group.add_argument(
        "--completion",
        action=PrintCompletion,
        metavar="SHELL",
        help="print what completes these options in bash, zsh or tcsh",
    )
    group.add_argument(
        "--guide",
        action=ShowGuide,
        nargs="?",
        metavar="TOPIC",
        help="show the guide: its first page lists the topics",
    )
    group.add_argument(
        "--version", action=PrintVersion, nargs=0, help="print the versions of onnxzip and onnxruntime"
    )
    group.add_argument("-h", "--help", action="help", help="print this")
