"""Follows README and guide word for word with an installed onnxzip: each block, and what it prints.

    pip wheel . --no-deps -w dist && python -m venv FOLDER && FOLDER/bin/pip install dist/*.whl
    python -m tests.release.guide FOLDER/bin [PAGE...]

The page about passes needs a clone, and is left out. Exits with 1 where a block does
not do what its page says.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.guide.pages_as_tests import PAGES
from tests.guide.running import run_page

NEEDS_A_CLONE = "passes"


def main(commands: Path, names: list[str]) -> int:
    """Run the blocks of pages, print all they print, and return whether there is a fault."""
    installed = [page for page in PAGES if page.stem != NEEDS_A_CLONE]
    n_blocks, faults = 0, []
    for page in (page for page in installed if not names or page.stem in names):
        with tempfile.TemporaryDirectory() as folder:
            for outcome in run_page(page, Path(folder), commands.absolute()):
                n_blocks += 1
                faults += [f"{outcome.block.place} {outcome.fault}"] if outcome.fault else []
                print(
                    f"== {outcome.block.place}\n{outcome.block.code}-- {outcome.fault or 'as it says'}"
                )
                print(outcome.output)
    print(f"{n_blocks} blocks, {len(faults)} faults", *faults, sep="\n")
    return bool(faults)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
