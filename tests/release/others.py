"""Runs compressed files on other runtimes and through other tools, each in an environment of its own.

    python -m tests.release.others WORK [--models FOLDER...] [--levels N...] [--only NAME...]

Compresses the models of the folders into WORK (what is there stays), and has a script of
`trials/scripts/` answer on each file and on the plain file that it decodes to. Prints a table with a
line for each runtime or tool, then each file that is not right. Exits with 1 where there is one. A
runtime that cannot be had is a line with the reason.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.release.trials.answers import CLOSE, Pair, ask, ask_pairs
from tests.release.trials.compressed import make_pairs, parser
from tests.release.trials.environments import UnavailableError, make_node, make_python
from tests.release.trials.table import findings_of, print_head, row

_SCRIPTS = Path(__file__).parent / "trials" / "scripts"
_F32 = ("INFERENCE_PRECISION_HINT=f32",)


@dataclass(frozen=True)
class Runtime:
    """A runtime or a tool.

    Attributes:
        name: in the table, and for `--only`.
        packages: what its environment holds.
        script: in `trials/scripts/`; `.mjs` runs in node.
        arguments: of the script.
        limit: the largest difference between the plain and the compressed file's answers that is right.
    """

    name: str
    packages: tuple[str, ...]
    script: str
    arguments: tuple[str, ...] = ()
    limit: float = CLOSE

    def pairs(self, folders: Iterable[Path], work: Path) -> list[Pair]:
        """Make the environment and answer on all pairs.

        Raises:
            UnavailableError: the runtime cannot be had.
        """
        place = work / "environments" / "-".join(self.packages)
        script = _SCRIPTS / self.script
        arguments: tuple[str | Path, ...] = self.arguments
        command: list[str | Path]
        if script.suffix == ".mjs":
            modules = make_node(place, self.packages)
            command, arguments = ["node", script], (modules / self.packages[0],)
        else:
            command = [make_python(place, ("numpy", *self.packages)), script]
        return list(ask_pairs(folders, lambda file: ask(command, file, arguments), self.limit))


RUNTIMES = (
    Runtime("onnxruntime", ("onnxruntime",), "run_onnxruntime.py", limit=0),
    Runtime("without folding", ("onnxruntime",), "run_onnxruntime.py", ("unfolded",)),
    Runtime("onnxruntime-node", ("onnxruntime-node",), "run_node.mjs", limit=0),
    Runtime("onnxruntime-web", ("onnxruntime-web",), "run_node.mjs"),
    Runtime("OpenVINO", ("openvino",), "run_openvino.py", _F32),
    # Where a CPU has bfloat16, that is the default, and 8 bits hold what a number is.
    Runtime("OpenVINO-default", ("openvino",), "run_openvino.py", limit=2**-5),
    Runtime("tract", ("tract",), "run_tract.py"),
    Runtime("onnx-reference", ("onnx",), "run_reference.py"),
    Runtime("MNN", ("mnn",), "run_mnn.py"),
    Runtime("ncnn", ("ncnn", "pnnx"), "run_ncnn.py"),
    Runtime("onnxsim", ("onnxsim", "onnxruntime"), "run_converted.py", ("onnxsim",)),
    Runtime("onnxslim", ("onnxslim", "onnxruntime"), "run_converted.py", ("onnxslim",)),
    Runtime("ort-format", ("onnxruntime", "onnx"), "run_converted.py", ("ort",)),
    Runtime("optimised-model", ("onnxruntime",), "run_converted.py", ("optimised",)),
)


def main(arguments: list[str]) -> int:
    """Print the table; return 1 where a file is not right."""
    options = parser("others")
    names = [runtime.name for runtime in RUNTIMES]
    options.add_argument("--only", nargs="+", choices=names, default=names)
    asked = options.parse_args(arguments)
    work = asked.work.resolve()
    folders = make_pairs(work, asked.models, asked.levels)
    findings: list[str] = []
    print_head()
    for runtime in RUNTIMES:
        if runtime.name not in asked.only:
            continue
        try:
            pairs = runtime.pairs(folders, work)
        except UnavailableError as error:
            print(f"| {runtime.name} | skipped: {error} |", flush=True)
            continue
        print(row(runtime.name, pairs), flush=True)
        findings += findings_of(runtime.name, pairs)
    print("\n".join(["", *findings]))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
