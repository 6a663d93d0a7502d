"""The graph as it is after the optimisations of a session."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from onnxzip.disk.temporary import temporary_folder
from onnxzip.errors import ModelError, OutputError
from onnxzip.runtime.loadable import LoadableModel
from onnxzip.runtime.session import create_session, session_options

_MIN_EXTERNAL_BYTES = 1024
"""Larger initializers go to a file of their own, since protobuf writes at most 2 GiB."""

_N_FILES = 4
"""More than are opened here at once: the model, its data, and what onnxruntime opens for a moment."""


def optimised_model(
    source: LoadableModel,
    *,
    level: Literal["basic", "extended"] = "basic",
    custom_ops: Path | None = None,
) -> bytes:
    """Return the graph as a CPU session's optimisations leave it, as a serialised ModelProto.

    It has no data in its large initializers.

    Args:
        source: the model.
        level: "basic" leaves standard operators only; "extended" puts in those of onnxruntime that do
            the work of several, and leaves out what this processor alone wants (layouts of memory).
        custom_ops: shared library of custom operators to register.

    Raises:
        ModelError: onnxruntime refuses the model.
        ProviderError: an operator is unknown.
        OutputError: there is no room for temporary files.
    """
    options = session_options(level, custom_ops)
    with temporary_folder() as folder:
        path = folder / "model.onnx"
        options.optimized_model_filepath = str(path)
        prefix = "session.optimized_model_external_initializers_"
        options.add_session_config_entry(prefix + "file_name", path.name + ".data")
        options.add_session_config_entry(prefix + "min_size_in_bytes", str(_MIN_EXTERNAL_BYTES))
        try:
            create_session(source, options, "CPU").close()
            return path.read_bytes()
        except (ModelError, OSError) as error:
            if not _can_open_files():
                raise OutputError(
                    f"{source.label}: too many open files; allow more of them (ulimit -n)"
                ) from error
            # The same model, not written: where it loads, the fault lies with the folder.
            create_session(source, session_options(level, custom_ops), "CPU").close()
            raise OutputError(
                f"{folder.parent}: has no room for a temporary copy of the model; free some, or let "
                "TMPDIR name another folder"
            ) from error


def _can_open_files() -> bool:
    """Whether a few more files can be opened: onnxruntime has many words for that they cannot."""
    try:
        with ExitStack() as stack:
            for _ in range(_N_FILES):
                stack.enter_context(Path(os.devnull).open())
    except OSError:
        return False
    return True
