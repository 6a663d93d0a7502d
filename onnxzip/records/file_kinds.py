"""What a file is that was taken for another: a pointer, a web page, another format."""

from __future__ import annotations

from pathlib import Path

_LFS = b"version https://git-lfs.github.com/spec/"
"""Begins every Git LFS pointer (docs/spec.md of github.com/git-lfs/git-lfs)."""

_SEALED = (b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----")
"""Begin a file that age has encrypted, and the same as text (age-encryption.org/v1)."""

_OPEN = "is sealed by age; pass a key that opens it with `identity`"

_KINDS = (
    (0, _LFS, "is a Git LFS pointer, not the file itself; fetch that with `git lfs pull`"),
    (
        0,
        b"/annex/objects/",
        "is a git-annex pointer, not the file itself; fetch that with `git annex get`",
    ),
    (0, b"<!doctype html", "is a web page, as a failed download leaves it; fetch the file again"),
    (0, b"<html", "is a web page, as a failed download leaves it; fetch the file again"),
    (0, b"<?xml", "is XML, as a failed download leaves it; fetch the file again"),
    (0, _SEALED[0], _OPEN),
    (0, _SEALED[1], _OPEN),
    (0, b"\x1f\x8b", "is packed by gzip; unpack it first"),
    (0, b"PK\x03\x04", "is a zip archive (a PyTorch checkpoint is one too); unpack or export the model"),
    (0, b"\x80\x02", "is a Python pickle, as PyTorch saves it; export the model as ONNX"),
    (0, b"\x89HDF", "is HDF5, as Keras saves it; export the model as ONNX"),
    (0, b"GGUF", "is a GGUF model; export the original as ONNX"),
    (4, b"ORTM", "is in onnxruntime's ORT format; give the .onnx file that it was made from"),
    (4, b"TFL3", "is a TensorFlow Lite model; export the original as ONNX"),
)
"""Where a signature stands, the signature in lower case for texts, and what to tell the user."""

N_LOOKED_AT = 64
"""Bytes at the beginning of a file that are enough to tell."""


def kind_of(data: bytes) -> str:
    """Return what a file is and what to do, "" where it begins like none of those known.

    Args:
        data: how the file begins, N_LOOKED_AT bytes where it has as many.
    """
    head = data[:N_LOOKED_AT]
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()  # of a web page, in any case
    for offset, signature, kind in _KINDS:
        if head[offset:].startswith(signature) or (signature[:1] == b"<" and text.startswith(signature)):
            return kind
    return ""


def is_sealed(data: bytes) -> bool:
    """Whether a file, by its beginning, was encrypted by age."""
    return data.startswith(_SEALED)


def file_kind(path: Path) -> str:
    """Return what `kind_of` says of a file."""
    with path.open("rb") as file:
        return kind_of(file.read(N_LOOKED_AT))
