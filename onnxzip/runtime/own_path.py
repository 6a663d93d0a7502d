"""Loads a file as its users will: by its path, in another working directory, in another process."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from multiprocessing.spawn import get_executable
from pathlib import Path

from onnxzip.disk.temporary import temporary_folder
from onnxzip.errors import InputError, OutputError, ProviderError, VerificationError
from onnxzip.runtime.loadable import LoadableModel
from onnxzip.runtime.session import create_session, session_options

_START = "import sys; sys.path[:] = sys.argv[5:]; from onnxzip.runtime import own_path; own_path.main()"

_REFUSED, _UNKNOWN_OPERATOR = 3, 4
"""How the other process ends; Python itself ends with 1 or 2."""


def load_by_path(
    path: Path,
    name: str,
    custom_ops: Path | None = None,
    *,
    packs: bool = True,
    folds: bool = True,
) -> None:
    """Load a model from its file, in a process of its own that works in an empty folder.

    Args:
        path: the file.
        name: what to call it in messages.
        custom_ops: shared library of custom operators to register.
        packs: whether kernels make copies of weights that they run faster with, as in users' sessions.
        folds: whether the graph is optimised, and with it all weights decoded, likewise.

    Raises:
        VerificationError: the file does not load.
        ProviderError: it has operators that are not known here.
        OutputError: there is no second process to be had.
    """
    library = "" if custom_ops is None else str(custom_ops.absolute())
    arguments = [str(path.absolute()), library, str(int(packs)), str(int(folds))]
    folders = [str(Path(folder).absolute()) for folder in sys.path]
    command = [get_executable(), "-P", "-c", _START, *arguments, *folders]
    try:
        with temporary_folder() as folder:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                cwd=folder,
                env={**os.environ, "TMPDIR": str(folder)},  # onnxruntime leaves a file there
                check=False,
            )
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise OutputError(f"{name}: too many open files; allow more of them (ulimit -n)") from error
        reason = error.strerror or error
        raise OutputError(
            f"{name}: no second process can be started to try the file: {reason}; allow one more"
        ) from error
    if done.returncode == 0:
        return
    said = " ".join((done.stdout or done.stderr).decode(errors="replace").split())[-_MAX_CHARACTERS:]
    if done.returncode == _UNKNOWN_OPERATOR:
        raise ProviderError(f"{name}: {said}")
    finding = said if done.returncode > 0 else f"the process was ended by signal {-done.returncode}"
    raise VerificationError(
        f"{name}: the new file does not load by its own path ({finding}); nothing is written: "
        "please report this fault of onnxzip"
    )


_N_LOADED, _N_LIBRARY_BYTES = 2, 64 << 20
"""Bytes that the process takes, over those of weights and decoders, as these are packed and copied;
what its libraries take: 45 MB."""


def n_loaded_bytes(n_decoder: int, n_plain: int) -> int:
    """Return about what `load_by_path` takes of memory.

    Args:
        n_decoder: bytes that decode nodes put out together.
        n_plain: those of the plain model.
    """
    return _N_LOADED * (n_decoder + n_plain) + _N_LIBRARY_BYTES


_MAX_CHARACTERS = 400
"""Of what the other process says: a message is one line."""


def main() -> None:
    """Load a file, in the other process; say on stdout why that is not possible.

    The command line holds the file, the library of custom operators or "", and 0 where weights are not
    to be packed, likewise where nothing is to be folded.
    """
    path, custom_ops, packs, folds = sys.argv[1:5]
    model = LoadableModel(Path(path), "the file", packs=bool(int(packs)))
    try:
        options = session_options(
            "all" if int(folds) else "off", Path(custom_ops) if custom_ops else None
        )
        create_session(model, options, "CPU").close()
    except InputError as error:
        is_unknown = isinstance(error, ProviderError)  # of which the user is told as it is
        said = str(error) if is_unknown else error.finding
        sys.stdout.write(said.removeprefix("the file: "))
        sys.exit(_UNKNOWN_OPERATOR if is_unknown else _REFUSED)
