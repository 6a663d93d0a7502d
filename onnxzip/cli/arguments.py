"""Command line -> `Request`: what is asked for, and which options a mode takes.

What a setting may be is for `Options` to say. The options of the passes are made from their dataclass
fields; the passes are imported only when needed.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from onnxzip.cli.flags import Parser, make_parser
from onnxzip.cli.pass_flags import add_pass_options, take_settings
from onnxzip.errors import UsageError
from onnxzip.options import USED_BY_VERIFY, Options, check_for_verify, for_verify

Mode: TypeAlias = Literal["compress", "list", "test", "decompress", "bench"]
_GENERAL = frozenset({"mode", "paths", "verbose"})
_ALLOWED: Mapping[Mode, frozenset[str]] = {
    "list": _GENERAL,
    "test": _GENERAL | USED_BY_VERIFY | {"against", "quiet", "report"},
    "decompress": _GENERAL | {"overwrite", "quiet"},
}
_NOT_OF: Mapping[Mode, frozenset[str]] = {
    "compress": frozenset({"against", "json"}),
    "bench": frozenset({"against", "overwrite", "target_size"}),
}
_PATHS: Mapping[Mode, tuple[str, ...]] = {
    "compress": ("IN", "OUT"),
    "list": ("FILE",),
    "test": ("FILE",),
    "decompress": ("FILE", "OUT"),
    "bench": ("FILE",),
}


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    Attributes:
        options: what was given, and defaults.
        report: where to write the report.
        against: the model to compare with.
        json: whether to print JSON instead of a table.
    """

    mode: Mode
    source: Path
    output: Path | None
    options: Options = dataclasses.field(default_factory=Options)
    report: Path | None = None
    against: Path | None = None
    quiet: bool = False
    verbose: bool = False
    json: bool = False


def _with_negative_numbers(parser: Parser, arguments: Sequence[str]) -> list[str]:
    """Tie a negative number to the option that takes a value, for `-1` is an option by itself."""
    tied: list[str] = []
    for argument in arguments:
        is_number = re.fullmatch(r"-\d[\d.]*\w*", argument)
        if is_number and tied and parser.takes_value(tied[-1]):
            tied[-1] += f"={argument}"
        else:
            tied.append(argument)
    return tied


def parse(arguments: Sequence[str]) -> Request:
    """Return the request; --help, --help-passes and --version print and exit instead.

    Raises:
        UsageError: an argument is unknown, malformed, or contradicts another.
    """
    if "-" in arguments:
        raise UsageError("`-` is not supported; name a file (one of that name is ./-)")
    parser = make_parser()
    end = arguments.index("--") if "--" in arguments else len(arguments)
    flags = [argument.partition("=")[0] for argument in arguments[:end] if argument.startswith("--")]
    if any(flag not in parser.flags for flag in flags):
        add_pass_options(parser)
    own = _with_negative_numbers(parser, arguments[:end])
    given = {"paths": [], **vars(parser.parse_intermixed_args(own))}
    for path in given["paths"]:
        if re.match(r"-\d", str(path)):  # which argparse takes for a negative number
            raise UsageError(f"there is no option {path} (a file of that name is ./{path})")
    given["paths"] = [*given["paths"], *map(Path, arguments[end + 1 :])]
    if settings := take_settings(given):
        given["pass_settings"] = settings
    _check_mode(given)
    return _to_request(given)


def _check_mode(given: Mapping[str, Any]) -> None:
    mode: Mode = given.get("mode", "compress")
    allowed = _ALLOWED[mode] if mode in _ALLOWED else given.keys() - _NOT_OF[mode]
    extra = sorted(given.keys() - allowed)
    if extra:
        only = {"against": "-t", "json": "--bench"}.get(extra[0], "compressing")
        raise UsageError(f"`{extra[0]}` has no meaning here; it belongs to {only}")
    names = _PATHS[mode]
    if len(given["paths"]) != len(names):
        raise UsageError(
            f"expected {' and '.join(names)}, got {len(given['paths'])} file names "
            "(onnxzip --help shows how to call it)"
        )
    if mode == "test":
        check_for_verify(USED_BY_VERIFY & set(given), has_original="against" in given)


def flag_of(key: str) -> str:
    """Return the option that sets a field of `Options`."""
    short = {
        **{"overwrite": "-f", "n_jobs": "-j", "quiet": "-q"},
        **{"level": "level (-1 to -9)", "pass_settings": "a setting of a pass"},
    }
    return short.get(key, "--" + key.replace("_", "-"))


def _to_request(given: Mapping[str, Any]) -> Request:
    source, *output = given["paths"]
    own = {field.name for field in dataclasses.fields(Request)} & set(given)
    settings = {key: value for key, value in given.items() if key not in own | {"paths"}}
    options = Options(**(for_verify(settings) if given.get("mode") == "test" else settings))
    return Request(
        mode=given.get("mode", "compress"),
        source=source,
        output=output[0] if output else None,
        options=options,
        **{key: given[key] for key in own - {"mode"}},
    )
