"""Makes the pages of the guide that are references: api.md of docstrings, options.md of the parser.

    python -m tests.guide.reference        writes both pages

Only what is exported is described, with the docstring that stands in the sources: griffe reads them
without importing them.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import griffe

from onnxzip.cli.flags import make_parser
from tests.guide.pages_as_tests import ROOT

GUIDE = ROOT / "onnxzip" / "guide"
MADE = "<!-- made by python -m tests.guide.reference -->\n"
INNER = (
    *("report.record.StoredWeight", "records.check.SampleLosses", "records.plan.Rewrite"),
    "records.recalled.Recalled",
    *(f"records.costs.latency.{name}" for name in ("Latency", "Ratio", "Processor")),
)
"""Records that are not exported, but lie in some that are."""


@cache
def pages() -> dict[Path, str]:
    """Return the text of each page that is made."""
    return {GUIDE / "api.md": api_page(), GUIDE / "options.md": options_page()}


def api_page() -> str:
    """Return the reference of everything that `onnxzip` exports."""
    package = griffe.load("onnxzip", search_paths=[str(ROOT)], docstring_parser="google")
    members = {name: package[name] for name in package.exports if name != "__version__"}
    of = {
        "Functions": [m for m in members.values() if m.is_function],
        "Records": [m for m in members.values() if m.is_class and not m.name.endswith("Error")],
        "Records in these": [package[path] for path in INNER],
        "Errors": [m for m in members.values() if m.is_class and m.name.endswith("Error")],
    }
    parts = ["# Python interface\n", MADE, f"{_ABOUT}\n"]
    for title, found in of.items():
        parts.append(f"## {title}\n")
        if title == "Errors":
            parts.append(f"```text\n{_error_tree(package)}\n```\n")
        for member in found:
            describe = _function if member.is_function else _class
            parts += [f"### {member.name}\n", *describe(member)]
    return "\n".join(parts)


_ABOUT = """Everything here is `onnxzip.NAME`. Settings of `compress` are those of the command
line: `--target-size` is `target_size`. The keys of a JSON report are the fields of
`Report` and of the records in it, in this order. Messages of the package are
logged under "onnxzip", see the module logging."""


def _error_tree(package: griffe.Object) -> str:
    text = package["errors"].docstring.value
    return inspect.cleandoc("\n".join(line for line in text.splitlines() if re.match(r" {4}", line)))


def _function(member: griffe.Object) -> Iterator[str]:
    """Yield the signature and the sections of a docstring."""
    lines = [_parameter(p) for p in member.parameters]
    if any(p.kind is griffe.ParameterKind.keyword_only for p in member.parameters):
        first = next(i for i, p in enumerate(member.parameters) if p.kind.value == "keyword-only")
        lines.insert(first, "*")
    inside = "".join(f"    {line},\n" for line in lines)
    yield f"```py\n{member.name}(\n{inside}) -> {member.returns}\n```\n"
    yield from _sections(member)


def _parameter(parameter: griffe.Parameter) -> str:
    stars = {"variadic positional": "*", "variadic keyword": "**"}.get(parameter.kind.value, "")
    annotation = f": {parameter.annotation}" if parameter.annotation is not None else ""
    has_default = parameter.default is not None and not stars
    return f"{stars}{parameter.name}{annotation}{f' = {parameter.default}' if has_default else ''}"


def _class(member: griffe.Object) -> Iterator[str]:
    """Yield what a class is, and its fields and properties with what is said of each."""
    told: dict[str, str] = {}
    for section in member.docstring.parsed:
        if section.kind is griffe.DocstringSectionKind.attributes:
            told |= {entry.name: _joined(entry.description) for entry in section.value}
        elif section.kind is griffe.DocstringSectionKind.text:
            yield section.value + "\n"
    rows = []
    for found in member.attributes.values():
        is_own = found.annotation is not None and not str(found.annotation).startswith("ClassVar")
        if found.name.startswith("_") or not is_own:
            continue
        text = told.get(found.name, "")
        if "property" in found.labels:
            text = text or _joined(found.docstring.value)
        default = "" if found.value is None or "field(" in str(found.value) else f" = {found.value}"
        rows.append(f"* `{found.name}: {found.annotation}{default}`{f': {text}' if text else ''}")
    if rows:
        yield "\n".join(rows) + "\n"


def _sections(member: griffe.Object) -> Iterator[str]:
    for section in member.docstring.parsed:
        match section.kind:
            case griffe.DocstringSectionKind.text:
                yield section.value + "\n"
            case griffe.DocstringSectionKind.parameters:
                yield "\n".join(_argument(entry) for entry in section.value) + "\n"
            case griffe.DocstringSectionKind.returns:
                yield f"Returns: {_joined(section.value[0].description)}\n"
            case griffe.DocstringSectionKind.raises:
                raised = (f"{e.annotation}: {_joined(e.description)}" for e in section.value)
                yield "\n".join(f"Raises {line}\n" for line in raised)


def _argument(entry: griffe.DocstringParameter) -> str:
    """Return a bullet, and one for each setting where an argument stands for several."""
    first, *settings = re.split(r"\n(?=\w[\w, ]*: )", inspect.cleandoc(entry.description))
    lines = [f"* `{entry.name}`: {_joined(first)}"]
    for setting in settings:
        names, _, text = setting.partition(": ")
        lines.append(f"    * `{names}`: {_joined(text)}")
    return "\n".join(lines)


def _joined(text: str) -> str:
    return " ".join(text.split())


def options_page() -> str:
    """Return the reference of the command line."""
    parser = make_parser()
    usage = "\n".join(line.strip() for line in (parser.usage or "").splitlines())
    parts = ["# Options of the command line\n", MADE, f"```text\n{usage}\n```\n", f"{_ABOUT_OPTIONS}\n"]
    for group in parser._action_groups:
        actions = [a for a in group._group_actions if a.help != argparse.SUPPRESS and a.option_strings]
        if actions and group.title:
            parts += [f"## {group.title.capitalize()}\n", "\n".join(map(_option, actions)) + "\n"]
    return "\n".join(parts)


_ABOUT_OPTIONS = """Settings of the passes, `--dct-block` and so on, are listed by `onnxzip
--help-passes`. Defaults are those of [Options](api.md). `--config FILE` reads the
long names, without their dashes, from a TOML file; `[pass.NAME]` holds the settings
of a pass."""


def _option(action: argparse.Action) -> str:
    named = ", ".join(action.option_strings)
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    value = f" [{value.strip()}]" if action.nargs == "?" else value
    return f"* `{named}{value}`: {(action.help or '').replace('%%', '%')}"


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, "utf-8")
