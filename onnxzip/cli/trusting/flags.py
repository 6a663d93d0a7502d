"""The options of signatures, seals and bills of materials."""

from __future__ import annotations

import argparse
from pathlib import Path

from onnxzip.cli.asking.places import Place, Places
from onnxzip.cli.parsers import read_path
from onnxzip.trust.delivery import SEALED

PASSWORD = "ONNXZIP_KEY_PASSWORD"
"""The variable that holds the password of the key of --sign: a command line is seen by all."""


def add_delivery_options(parser: argparse.ArgumentParser) -> None:
    """Add what is written with a model."""
    group = parser.add_argument_group("handing over")
    group.add_argument(
        "--sign",
        type=read_path,
        metavar="KEY",
        help="write OUT.sig, a signature (OpenSSF model signing) of OUT, its report and the original's "
        "digest; KEY is a PEM file of a private key, whose password is asked for or stands in "
        f"{PASSWORD}",
    )
    group.add_argument(
        "--seal",
        action="append",
        type=_read_recipient,
        metavar="RECIPIENT",
        help="encrypt OUT with age, for a public key (age1..., ssh-ed25519, ssh-rsa) or for those in a "
        "file; may be repeated",
    )
    group.add_argument(
        "--bom", type=_read_bom_path, metavar="FILE.json", help="write a CycloneDX bill of materials"
    )


def add_opening_options(group: argparse._ActionsContainer) -> None:
    """Add what a file is tested with, and opened."""
    group.add_argument(
        "--verify",
        type=read_path,
        dest="public_key",
        metavar="KEY",
        help="with -t: the public key (PEM) that FILE.sig has to fit",
    )
    group.add_argument(
        "--open",
        type=read_path,
        dest="identity",
        metavar="KEYFILE",
        help="with -l, -t and -d: the secret key, of age or ssh, that opens a sealed FILE",
    )


def sealed_name(places: Places, *, is_sealed: bool, is_named: bool) -> Place | None:
    """Return what is written: what is sealed says so by its name, where the user gives it none."""
    output = places.output
    if is_sealed and not is_named and isinstance(output, Path) and not places.several:
        return output.with_name(output.name + SEALED)
    return output


def _read_recipient(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("the recipient is empty")
    return text.strip()


def _read_bom_path(text: str) -> Path:
    path = read_path(text)
    if path.suffix.lower() != ".json":
        raise argparse.ArgumentTypeError(f"{text}: a bill of materials is a .json file")
    return path
