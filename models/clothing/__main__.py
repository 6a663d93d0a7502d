"""The application: greyscale images as truncated DCT coefficients, and a network that names them.

    python -m models.clothing                       compress, compare, and write the page and its figures
    python -m models.clothing --passes dct --output FOLDER      the same for a pass, into a folder
    python -m models.clothing judge FILE.onnx ...   share of the test images that a file names rightly
    python -m models.clothing train [--data FOLDER] [--search]  train again (needs the extra `train`)

All but the last need what onnxzip itself needs, installed with `pip install -e .`. The page is a section
of models/README.md, and models/clothing/report.html.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import onnxzip
from models.clothing import archive
from models.clothing.comparison import ALL, ROWS, SEEDS, compressed, original, right
from models.clothing.contents import contents
from models.clothing.page import BEGIN, html, replace_section
from models.clothing.pictures import INSTALLED

README = archive.HERE.parent / "README.md"
TITLE = "Clothing, from truncated DCT coefficients"


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m models.clothing", description=TITLE)
    parser.add_argument("--passes", nargs="+", choices=ROWS, help="rows of the comparison; default: all")
    parser.add_argument("--output", type=Path, help="folder for page and figures; default: models/")
    commands = parser.add_subparsers(dest="command")
    judging = commands.add_parser("judge", help="share of the test images that files name rightly")
    judging.add_argument("files", type=Path, nargs="+", help="made from clothing.onnx")
    training = commands.add_parser("train", help="train again; needs `pip install -e '.[train]'`")
    training.add_argument(
        "--data", type=Path, default=INSTALLED, help="folder of Fashion-MNIST's .gz files"
    )
    training.add_argument("--search", action="store_true", help="search for settings, too")
    given = parser.parse_args(arguments)
    if find_spec("onnxzip.passes") is None:  # a plain install's are hidden by the sources that lie here
        sys.exit("onnxzip has no passes when it is imported from here; `pip install -e .` mends that")
    if given.command == "train":
        try:
            from models.clothing.training import train
        except ModuleNotFoundError as error:
            sys.exit(f"{error.name} is not installed; `pip install -e '.[train]'` does it")
        train(given.data, with_search=given.search)
    elif given.command == "judge":
        for path in given.files:
            judge(path)
    else:
        compare(given.passes or ROWS, given.output)


def judge(path: Path) -> None:
    """Print the share of the test images that a file names rightly."""
    try:
        inputs = [port.name for port in onnxzip.inspect(path).inputs]
    except onnxzip.OnnxzipError as error:
        sys.exit(str(error))
    if inputs != ["coefficients"]:
        sys.exit(f"{path}: its input is not `coefficients`; give a file made from {archive.NETWORK}")
    print(f"{path}: {100 * right(path.read_bytes()):.2f} % right, {path.stat().st_size:,} bytes")


def compare(rows: Sequence[str], output: Path | None = None) -> None:
    """Compress, compare, and write the page.

    Args:
        rows: of comparison.ROWS; the table of seeds is made where ALL is among them.
        output: a folder for README.md, report.html and figures; default: where the committed ones are.
    """
    folder = archive.HERE if output is None else output / archive.HERE.name
    page = folder.parent / README.name
    if page.exists() and BEGIN not in page.read_text("utf-8"):
        sys.exit(f"{page}: there is another page already; give another --output")
    folder.mkdir(parents=True, exist_ok=True)
    if page != README:
        shutil.copy(README, page)
    outcomes = [original()]
    for name in rows:
        outcomes.append(compressed(name))
        print(f"{name}: {len(outcomes[-1].model):,} bytes", flush=True)
    by_name = {outcome.name: outcome for outcome in outcomes}
    over_seeds = [by_name[ALL], *(compressed(ALL, seed) for seed in SEEDS[1:])] if ALL in rows else []
    section = contents(by_name, over_seeds, folder)
    page.write_text(replace_section(page.read_text("utf-8"), section), "utf-8")
    (folder / "report.html").write_text(html(TITLE, section, folder.parent), "utf-8")
    print(f"{page}, {folder / 'report.html'}: written")


if __name__ == "__main__":
    main()
