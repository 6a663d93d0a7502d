"""Command line -> `Request`: what is asked for, and which options a mode takes.

What a setting may be is for `Options` to say. The options of the passes are made from their dataclass
fields; the passes are imported only when needed.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from onnxzip.cli.asking.config import merged, read_config
from onnxzip.cli.asking.places import (
    Place,
    Places,
    Stream,
    output_of,
    places_of,
    source_of,
)
from onnxzip.cli.flags import Parser, make_parser
from onnxzip.cli.pass_flags import add_pass_options, take_settings
from onnxzip.cli.trusting.flags import PASSWORD, sealed_name
from onnxzip.disk.replacing import is_same_file
from onnxzip.errors import UsageError
from onnxzip.options import USED_BY_VERIFY, Options, check_for_verify, for_verify
from onnxzip.trust.delivery import Delivery

Mode: TypeAlias = Literal["compress", "list", "test", "decompress", "bench"]
_GENERAL = frozenset({"mode", "paths", "verbose", "config"})
_BELONGS = {
    **{"against": "-t", "json": "-l, -t and --bench"},
    **{"public_key": "-t", "identity": "-l, -t and -d"},
}
"""What compressing does not take, and what does."""
_DELIVERY = frozenset({"sign", "seal", "bom"})
_ALLOWED: Mapping[Mode, frozenset[str]] = {
    "list": _GENERAL | {"json", "identity"},
    "test": _GENERAL | USED_BY_VERIFY | {"against", "quiet", "report", "json", "identity", "public_key"},
    "decompress": _GENERAL | {"overwrite", "quiet", "identity"},
}
_NOT_OF: Mapping[Mode, frozenset[str]] = {
    "compress": frozenset(_BELONGS),
    "bench": frozenset({*_BELONGS, *_DELIVERY, "overwrite", "target_size", "dry_run"}) - {"json"},
}
_PATHS: Mapping[Mode, tuple[str, ...]] = {
    "list": ("FILE",),
    "test": ("FILE",),
    "decompress": ("FILE", "OUT"),
    "bench": ("FILE",),
}


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    Attributes:
        source: what is read: a file, stdin; the first of several.
        output: what is written: a file, stdout, a folder for several; None for nothing.
        options: what was given, and defaults.
        report: where to write the report; a suffix alone, ".html", stands for a file beside each output.
        against: the model to compare with.
        several: files and folders that are compressed into the folder `output`; () for one model.
        is_dry: whether to say only what would be done.
        json: whether to print JSON instead of a table.
        delivery: what is written with the model.
        public_key: what the signature of the file has to fit.
        identity: the file of keys that opens a sealed file.
    """

    mode: Mode
    source: Place
    output: Place | None
    options: Options = dataclasses.field(default_factory=Options)
    report: Path | None = None
    against: Place | None = None
    quiet: bool = False
    verbose: bool = False
    several: tuple[Path, ...] = ()
    is_dry: bool = False
    json: bool = False
    delivery: Delivery = dataclasses.field(default_factory=Delivery)
    public_key: Path | None = None
    identity: Path | None = None


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
    """Return the request; --help, --help-passes and the like print and exit instead.

    Raises:
        UsageError: an argument is unknown, malformed, or contradicts another.
        InputError: the file of --config cannot be read.
    """
    parser = make_parser()
    end = arguments.index("--") if "--" in arguments else len(arguments)
    flags = [argument.partition("=")[0] for argument in arguments[:end] if argument.startswith("--")]
    if any(flag not in parser.flags for flag in flags) or "--config" in flags:
        add_pass_options(parser)
    given = _read(parser, arguments[:end])
    for path in given["paths"]:
        if re.match(r"-\d", path):  # which argparse takes for a negative number
            raise UsageError(f"there is no option {path} (a file of that name is ./{path})")
    if "config" in given:
        given = _with_config(given, parser)
    texts = [*given["paths"], *(_as_file(text) for text in arguments[end + 1 :])]
    if settings := take_settings(given):
        given["pass_settings"] = settings
    _check_mode(given, texts)
    return _to_request(given, texts)


def _read(parser: Parser, arguments: Sequence[str]) -> dict[str, Any]:
    """Return what arguments give, by the fields they set."""
    own = _with_negative_numbers(parser, arguments)
    return {"paths": [], **vars(parser.parse_intermixed_args(own))}


def _as_file(text: str) -> str:
    """Return a name behind `--`, where "-" is a file like any other."""
    return f"./{text}" if text == "-" else text


def _with_config(given: dict[str, Any], parser: Parser) -> dict[str, Any]:
    """Return what is given together with what stands in the file of --config."""
    found = read_config(given["config"], parser, lambda arguments: _read(parser, arguments))
    mode = given.get("mode") or found.get("mode", "compress")
    allowed = _allowed(mode, found.keys()) - {"paths"}
    if mode == "test" and "against" not in {**found, **given}:
        allowed -= USED_BY_VERIFY - {"calibration", "custom_ops", "seed"}
    return merged(found, given, allowed)


def _allowed(mode: Mode, given: Collection[str]) -> frozenset[str]:
    """Return which options mean something in a mode, of those given."""
    return _ALLOWED[mode] if mode in _ALLOWED else frozenset(given) - _NOT_OF[mode]


def _check_mode(given: Mapping[str, Any], texts: Sequence[str]) -> None:
    """Refuse options that the mode does not take, and file names too many or too few.

    Raises:
        UsageError: it does.
    """
    mode: Mode = given.get("mode", "compress")
    extra = sorted(given.keys() - _allowed(mode, given.keys()))
    if extra:
        raise UsageError(
            f"`{extra[0]}` has no meaning here; it belongs to {_BELONGS.get(extra[0], 'compressing')}"
        )
    names = _PATHS.get(mode, ())
    if names and len(texts) != len(names):
        raise UsageError(
            f"expected {' and '.join(names)}, got {len(texts)} file names "
            "(onnxzip --help shows how to call it)"
        )
    if mode == "bench" and "-" in texts:
        raise UsageError("`-` cannot be read by all tools; name a file")
    if mode == "test":
        check_for_verify(USED_BY_VERIFY & set(given), has_original="against" in given)
        if given.get("against") == "-" and texts == ["-"]:
            raise UsageError("`-` is stdin, which holds one model; name a file for one of the two")


def flag_of(key: str) -> str:
    """Return the option that sets a field of `Options`."""
    short = {
        **{"overwrite": "-f", "n_jobs": "-j", "quiet": "-q"},
        **{"level": "level (-1 to -9)", "pass_settings": "a setting of a pass"},
        **{"public_key": "--verify", "identity": "--open", "key_password": PASSWORD},
    }
    return short.get(key, "--" + key.replace("_", "-"))


def _to_request(given: Mapping[str, Any], texts: Sequence[str]) -> Request:
    mode: Mode = given.get("mode", "compress")
    places = places_of(texts) if mode == "compress" else _places(texts)
    own = {"quiet", "verbose", "json", "public_key", "identity"} & given.keys()
    delivered = _DELIVERY & given.keys()
    apart = {*own, *delivered, "mode", "paths", "config", "report", "against", "dry_run"}
    settings = {key: value for key, value in given.items() if key not in apart}
    request = Request(
        mode=mode,
        source=places.source,
        output=sealed_name(places, is_sealed="seal" in given, is_named=len(texts) > 1),
        options=Options(**(for_verify(settings) if mode == "test" else settings)),
        report=given.get("report"),
        against=source_of(given["against"]) if "against" in given else None,
        several=places.several,
        is_dry="dry_run" in given,
        delivery=Delivery(**{key: given[key] for key in delivered}),
        **{key: given[key] for key in own},
    )
    _check_several(request)
    request = dataclasses.replace(request, report=_report_of(request))
    if "config" in given:
        _check_config_kept(given["config"], request)
    return request


def _check_config_kept(config: Path, request: Request) -> None:
    """Refuse to write over the file of --config.

    Raises:
        UsageError: that is what is asked for.
    """
    output = request.output
    beside = request.delivery.beside(output) if isinstance(output, Path) else ()
    for path in (output, request.report, *beside):
        if isinstance(path, Path) and is_same_file(path, config):
            raise UsageError(f"`config` {config}: would be written over; give {path} another name")


def _places(texts: Sequence[str]) -> Places:
    return Places(source_of(texts[0]), output_of(texts[1]) if len(texts) > 1 else None)


def _check_several(request: Request) -> None:
    """Refuse what makes sense for one model only.

    Raises:
        UsageError: several are asked for.
    """
    if not request.several:
        return
    if request.options.target_size is not None:
        raise UsageError("`target_size` is that of one model; compress several one by one")
    if request.delivery.bom is not None:
        raise UsageError("`bom` is that of one model; compress several one by one")
    if request.report is not None and not is_suffix(request.report):
        suffix = request.report.suffix.lower()
        raise UsageError(
            f"`report` {request.report}: a report is on one model; {flag_of('report')} {suffix} writes "
            "one beside each"
        )


def is_suffix(report: Path) -> bool:
    """Whether a report is named by its suffix alone, ".html"."""
    return report.name.startswith(".") and not report.suffix


def _report_of(request: Request) -> Path | None:
    """Return where the report goes, beside the output where only its suffix is given.

    Raises:
        UsageError: the output is no file.
    """
    report, output = request.report, request.output
    if report is None or not is_suffix(report) or request.several:
        return report
    if output is None or isinstance(output, Stream):
        raise UsageError(f"`report` {report}: there is no OUT to lie beside; name the report's file")
    return output.with_suffix(report.name)
