"""The options of how the work is done: with what, how much at a time, what is kept and told of it."""

from __future__ import annotations

import argparse

from onnxzip.cli.parsers import read_int, read_names, read_path, read_report_path


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add them to a parser."""
    group = parser.add_argument_group("running")
    group.add_argument(
        "--custom-ops", type=read_path, metavar="LIB", help="register a custom-operator library"
    )
    group.add_argument(
        "--providers",
        action="extend",
        type=read_names,
        metavar="A,B",
        help="execution providers to validate on; default: CPU and all accelerators onnxruntime has",
    )
    group.add_argument(
        *("-j", "--jobs"),
        type=read_int,
        dest="n_jobs",
        metavar="N",
        help="processes (default 1); of several models so many at a time",
    )
    group.add_argument(
        "--max-memory",
        metavar="SIZE",
        help="most memory that the run may hold, e.g. 2GB; one that comes to hold more is ended (Linux)",
    )
    group.add_argument("--seed", type=read_int, metavar="N", help="of generated inputs (default 0)")
    group.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="address of a Dask scheduler, such as tcp://host:8786, whose workers do the work on "
        "weights, in place of -j",
    )
    _add_cache_options(group)
    _add_file_options(group)
    _add_volume(group)


def _add_file_options(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--report",
        type=read_report_path,
        metavar="FILE",
        help="write the report on it, also with -t: .html (a page with plots), .md or .json; a suffix "
        "alone is a file beside OUT",
    )
    group.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would be done, about how long it would take and how large the result would be",
    )
    group.add_argument(
        "--config",
        type=read_path,
        metavar="FILE",
        help="a TOML file whose keys are long names of options; what is given here overrules it",
    )
    group.add_argument(
        *("-f", "--overwrite"), action="store_true", dest="overwrite", help="overwrite OUT"
    )


def _add_cache_options(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--cache",
        type=read_path,
        metavar="DIR",
        help="keep what is measured and worked out in a folder, for runs that repeat some of it: with "
        "another tolerance, or after one that was stopped",
    )
    group.add_argument(
        "--cache-size",
        metavar="SIZE",
        help="most that this folder takes (default 5GiB); what was not used for longest goes first",
    )


def _add_volume(group: argparse._ActionsContainer) -> None:
    volume = group.add_mutually_exclusive_group()
    volume.add_argument(
        *("-q", "--quiet"),
        action="store_true",
        dest="quiet",
        help="print errors, and what is not proven, only",
    )
    volume.add_argument(
        *("-v", "--verbose"),
        action="store_true",
        dest="verbose",
        help="print every weight, and the traceback of an error",
    )
