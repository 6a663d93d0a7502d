"""Command line -> `Request`: the options, what they may be, and which of them go together.

Only options that were given are in a request, so that defaults live in `options.Options` alone. The
options of the passes are made from their dataclass fields; the passes are imported only when needed.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeAlias

from onnxzip.cli.parsers import (
    read_at_least_one,
    read_metric,
    read_names,
    read_not_negative,
    read_positive,
    read_report_path,
    read_size,
)
from onnxzip.cli.pass_flags import add_pass_options, check_passes, take_settings
from onnxzip.errors import UsageError

Mode: TypeAlias = Literal["compress", "list", "test", "decompress"]
_USAGE = """onnxzip [options] IN OUT
       onnxzip -l FILE
       onnxzip -t [options] FILE [--against ORIGINAL]
       onnxzip -d [options] FILE OUT"""
_EPILOG = """examples:
  onnxzip model.onnx small.onnx          loses at most 0.1 relative error
  onnxzip -c images.npz --tolerance 0.05 model.onnx small.onnx
  onnxzip -c images.npy --labels classes.npy --metric top1 --tolerance 0.01 \\
      model.onnx small.onnx              loses at most a point of accuracy
  onnxzip --keep 'head.*' --report small.json model.onnx small.onnx
  onnxzip -t small.onnx --against model.onnx
  onnxzip -d small.onnx plain.onnx       plain weights again

exit status: 0 done, 1 bad input, 2 usage, 3 no smaller file meets the tolerance
OUT is written as a whole or left untouched."""
_GENERAL = frozenset({"mode", "paths", "verbose"})
_MEASURE = frozenset({"calibration", "labels", "metric", "tolerance", "custom_ops", "providers", "seed"})
_NEEDS_ORIGINAL = frozenset({"labels", "metric", "tolerance"})
_ALLOWED: Mapping[Mode, frozenset[str]] = {
    "list": _GENERAL,
    "test": _GENERAL | _MEASURE | {"against", "quiet"},
    "decompress": _GENERAL | {"overwrite", "quiet"},
}
_PATHS: Mapping[Mode, tuple[str, ...]] = {
    "compress": ("IN", "OUT"),
    "list": ("FILE",),
    "test": ("FILE",),
    "decompress": ("FILE", "OUT"),
}


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    Attributes:
        options: fields of `options.Options` that were given.
        report: where to write the report.
        against: the model to compare with.
    """

    mode: Mode
    source: Path
    output: Path | None
    options: Mapping[str, Any]
    report: Path | None = None
    against: Path | None = None
    quiet: bool = False
    verbose: bool = False


class _Parser(argparse.ArgumentParser):
    @property
    def flags(self) -> frozenset[str]:
        return frozenset(self._option_string_actions)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (onnxzip --help lists the options)")


class _PassHelp(argparse.Action):
    """Print the settings of every pass and exit."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        listing = _Parser(
            prog="onnxzip", usage="onnxzip [--PASS-SETTING VALUE]... IN OUT", add_help=False
        )
        add_pass_options(listing)
        listing.print_help()
        parser.exit()


def parse(arguments: Sequence[str]) -> Request:
    """Return the request; --help, --help-passes and --version print and exit instead.

    Raises:
        UsageError: an argument is unknown, malformed, or contradicts another.
    """
    parser = _make_parser()
    end = arguments.index("--") if "--" in arguments else len(arguments)
    flags = [argument.partition("=")[0] for argument in arguments[:end] if argument.startswith("--")]
    if any(flag not in parser.flags for flag in flags):
        add_pass_options(parser)
    given = {"paths": [], **vars(parser.parse_intermixed_args(list(arguments[:end])))}
    for path in given["paths"]:
        if re.match(r"-\d", str(path)):  # which argparse takes for a negative number
            raise UsageError(f"there is no option {path} (a file of that name is ./{path})")
    given["paths"] = [*given["paths"], *map(Path, arguments[end + 1 :])]
    if settings := take_settings(given):
        given["pass_settings"] = settings
    _check_combination(given)
    return _to_request(given)


def _make_parser() -> _Parser:
    parser = _Parser(
        prog="onnxzip",
        usage=_USAGE,
        description="Make an ONNX model many times smaller; any stock onnxruntime loads the result.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument("paths", nargs="*", type=Path, help=argparse.SUPPRESS)
    _add_loss_options(parser)
    _add_method_options(parser)
    _add_levels(parser)
    _add_run_options(parser)
    _add_modes(parser)
    return parser


def _add_loss_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("loss allowed")
    group.add_argument(
        "-c",
        "--calibration",
        type=Path,
        metavar="FILE|DIR",
        help=".npz (one array per graph input, first axis = samples), .npy for a single input, or a "
        "folder of them; without it inputs are generated",
    )
    group.add_argument("--labels", type=Path, metavar="FILE.npy", help="true classes, for --metric top1")
    group.add_argument(
        "--metric",
        type=read_metric,
        metavar="NAME",
        help="rel_l2 (default): |y - y'| / |y|; cosine: 1 - cos; psnr: dB; top1: drop in accuracy with "
        "--labels, else share of changed answers; or a Python module:function",
    )
    group.add_argument(
        "--tolerance",
        type=read_positive,
        metavar="X",
        help="largest loss allowed (psnr: least dB) in the metric's own unit; rel_l2: 0.1 by default; "
        "top1: a fraction, 0.01 is one point",
    )
    group.add_argument(
        "--target-size",
        type=read_size,
        metavar="SIZE",
        help="instead of a tolerance: the best model that fits, e.g. 4MB",
    )
    group.add_argument(
        "--keep",
        action="append",
        metavar="PATTERN",
        help="leave weights alone whose name matches, e.g. 'head.*'; may be repeated",
    )


def _add_method_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("method")
    group.add_argument(
        "--objective",
        choices=("size", "speed"),
        help="size (default): every weight is rebuilt when the model is loaded; speed: nodes are "
        "replaced by cheaper ones where that runs fewer operations",
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
    group.add_argument(
        "--keep-names",
        action="store_true",
        help="keep internal names and doc strings, which are shortened or dropped from -6 on",
    )


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("running")
    group.add_argument(
        "--custom-ops", type=Path, metavar="LIB", help="register a custom-operator library"
    )
    group.add_argument(
        "--providers",
        action="extend",
        type=read_names,
        metavar="A,B",
        help="execution providers to validate on; default: CPU and all accelerators onnxruntime has",
    )
    group.add_argument(
        "-j", type=read_at_least_one, dest="n_jobs", metavar="N", help="processes (default 1)"
    )
    group.add_argument(
        "--seed", type=read_not_negative, metavar="N", help="of generated inputs (default 0)"
    )
    group.add_argument(
        "--report",
        type=read_report_path,
        metavar="FILE",
        help="write the report, in the form of its suffix",
    )
    group.add_argument("-f", action="store_true", dest="overwrite", help="overwrite OUT")
    volume = group.add_mutually_exclusive_group()
    volume.add_argument("-q", action="store_true", dest="quiet", help="print nothing but errors")
    volume.add_argument(
        "-v",
        action="store_true",
        dest="verbose",
        help="print every weight, and the traceback of an error",
    )


def _add_modes(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("instead of compressing")
    modes = group.add_mutually_exclusive_group()
    for flag, mode, text in (
        ("-l", "list", "list how each weight of FILE is stored"),
        ("-t", "test", "test FILE: does it load, decode and compute"),
        ("-d", "decompress", "write FILE with plain weights again"),
    ):
        modes.add_argument(flag, action="store_const", const=mode, dest="mode", help=text)
    group.add_argument(
        "--against", type=Path, metavar="ORIGINAL", help="with -t: the model to compare with"
    )
    group.add_argument(
        "--version", action="version", version=f"onnxzip {version('onnxzip')}", help="print the version"
    )
    group.add_argument("-h", "--help", action="help", help="print this")


def _check_combination(given: Mapping[str, Any]) -> None:
    mode: Mode = given.get("mode", "compress")
    extra = sorted(set(given) - _ALLOWED.get(mode, frozenset(given) - {"against"}))
    if extra:
        only = "-t" if extra == ["against"] else "compressing"
        raise UsageError(f"{flag_of(extra[0])} has no meaning here; it belongs to {only}")
    names = _PATHS[mode]
    if len(given["paths"]) != len(names):
        raise UsageError(
            f"expected {' and '.join(names)}, got {len(given['paths'])} file names "
            "(onnxzip --help shows how to call it)"
        )
    if mode == "test" and "against" not in given and (lonely := _NEEDS_ORIGINAL & set(given)):
        raise UsageError(f"{flag_of(min(lonely))} needs --against ORIGINAL, the model to compare with")
    _check_loss(given)
    if {"passes", "skip", "pass_settings"} & set(given):
        check_passes(given.get("passes"), given.get("skip", ()), given.get("pass_settings", {}))


def _check_loss(given: Mapping[str, Any]) -> None:
    is_top1 = given.get("metric") == "top1"
    if {"tolerance", "target_size"} <= set(given):
        raise UsageError("--target-size stands instead of --tolerance; leave one of them out")
    if "labels" in given and not is_top1:
        raise UsageError("--labels is for --metric top1 only")
    if "labels" in given and "calibration" not in given:
        raise UsageError("--labels needs --calibration, the data they label")
    if is_top1 and given.get("tolerance", 0) >= 1:
        raise UsageError("--tolerance of top1 is a fraction below 1; 0.01 is one point")


def flag_of(key: str) -> str:
    """Return the option that sets a field of `Options`."""
    short = {"overwrite": "-f", "n_jobs": "-j", "quiet": "-q", "pass_settings": "a setting of a pass"}
    return short.get(key, "--" + key.replace("_", "-"))


def _to_request(given: Mapping[str, Any]) -> Request:
    source, *output = given["paths"]
    own = {field.name for field in dataclasses.fields(Request)} & set(given)
    options = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in given.items()
        if key not in own | {"paths"}
    }
    return Request(
        mode=given.get("mode", "compress"),
        source=source,
        output=output[0] if output else None,
        options=options,
        **{key: given[key] for key in own - {"mode"}},
    )
