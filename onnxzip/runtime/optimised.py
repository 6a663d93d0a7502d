"""The graph as it is after the optimisations of a session."""

from __future__ import annotations

import tempfile
from pathlib import Path

from onnxzip.runtime.loadable import LoadableModel
from onnxzip.runtime.session import Optimisation, create_session, session_options


def save_optimised(
    source: LoadableModel,
    path: Path,
    *,
    level: Optimisation = "basic",
    external: bool = False,
    custom_ops: Path | None = None,
) -> None:
    """Write the graph as it is after the optimisations of a CPU session.

    Args:
        source: the model.
        path: file to write.
        level: "basic" leaves standard operators only.
        external: put tensors of 1 KiB and up into `path` + ".data", as needed above 2 GiB.
        custom_ops: shared library of custom operators to register.

    Raises:
        ModelError: onnxruntime refuses the model or cannot write the file.
        ProviderError: an operator is unknown.
    """
    options = session_options(level, None, custom_ops)
    options.optimized_model_filepath = str(path)
    if external:
        prefix = "session.optimized_model_external_initializers_"
        options.add_session_config_entry(prefix + "file_name", path.name + ".data")
        options.add_session_config_entry(prefix + "min_size_in_bytes", "1024")
    create_session(source, options, "CPU").close()


def optimised_model(
    source: LoadableModel, level: Optimisation = "basic", *, custom_ops: Path | None = None
) -> bytes:
    """Return the optimised graph as a serialised ModelProto; large initializers have no data in it."""
    with tempfile.TemporaryDirectory(prefix="onnxzip-") as folder:
        path = Path(folder) / "model.onnx"
        save_optimised(source, path, level=level, external=True, custom_ops=custom_ops)
        return path.read_bytes()
