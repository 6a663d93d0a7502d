"""The compression passes, one method a file; installed as `onnxzip.passes`."""

if __name__ == "passes":
    raise ImportError("import onnxzip.passes: this folder is installed under that name")
