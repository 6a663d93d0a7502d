"""A folder as Optimum exports it, model.onnx with its weights in model.onnx_data, into one without them.

optimum-cli export onnx --model MODEL FOLDER
python optimum_folder.py FOLDER OUT
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import onnxzip


def main() -> None:
    """Compress each model of the folder, and copy what lies beside it: configuration, tokenizer."""
    folder, output = Path(sys.argv[1]), Path(sys.argv[2])
    output.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.iterdir()):
        if path.suffix == ".onnx":
            report = onnxzip.compress(path, output / path.name, overwrite=True).report
            print(f"{path.name}: {report.bytes_before:,} -> {report.bytes_after:,} bytes")
        elif path.suffix != ".onnx_data":  # those weights are in the compressed model
            shutil.copy(path, output)


if __name__ == "__main__":
    main()
