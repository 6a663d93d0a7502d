"""`python -m onnxzip`."""

import sys

from onnxzip.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
