"""Sessions on execution providers.

Behaviour of onnxruntime that this file relies on, tried on 1.17.0, 1.24, 1.31 and 1.32:

* `SessionOptions.add_external_initializers` takes the arrays of initializers that the protobuf marks as
  external data. The file they point to is never opened; 1.32 copies the arrays, and maps those that lie
  in files (tests/runtime/test_session.py).
* A provider that is compiled in but cannot start (a GPU wheel without CUDA) is dropped without an
  exception; `get_providers()` of the finished session then lacks it.
* Errors are exceptions with no common base class; at log level 4 nothing reaches stderr.
* A CUDA convolution takes whichever kernel is the fastest when the first input of a shape arrives. With
  TF32, which is on by default, two sessions on the same graph may differ by 7e-4 for that (1.31.1 on an
  H100); without it they stay within 1e-6. The option to turn it off came with 1.18.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias

import onnxruntime as ort

from onnxzip.errors import CalibrationError, ModelError, ProviderError
from onnxzip.records.aliases import Feeds
from onnxzip.runtime.feeding import SILENT, Feeder, RunLimit
from onnxzip.runtime.finding import finding_of
from onnxzip.runtime.input_spec import InputSpec
from onnxzip.runtime.loadable import LoadableModel, ort_session
from onnxzip.runtime.outputs import Outputs, flatten
from onnxzip.runtime.providers import long_name, resolve_providers

Optimisation: TypeAlias = Literal["off", "basic", "extended", "all"]
"""How far: not, with standard operators only, whatever the processor, or as users' sessions do."""

_KNOWS_TF32 = tuple(map(int, ort.__version__.split(".")[:2])) >= (1, 18)
"""Whether this onnxruntime has the option `use_tf32`, see above."""

_LEVELS = {
    "off": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}

PROBE_MODEL = bytes.fromhex(
    "080712003a330a0c0a0178120179220452656c751201675a0f0a0178120a0a08080112040a020801"
    "620f0a0179120a0a08080112040a02080142040a00100d"
)
"""y = Relu(x), x float32 (1,), opset 13: the smallest model that shows whether a provider starts."""


class Session:
    """A loaded model on one provider; made by `open_session`.

    Attributes:
        label: the model's name in messages.
        provider: short provider name.
        inputs: graph inputs that must be fed; initializers that may be overridden are not among them.
        optional_inputs: those that may be left out.
        outputs: graph outputs.
        n_provider_nodes: nodes that run on `provider`, None when this onnxruntime cannot tell.
        n_nodes: nodes of the graph after optimisation, None likewise.
    """

    def __init__(self, session: ort.InferenceSession, source: LoadableModel, provider: str) -> None:
        self._session: ort.InferenceSession | None = session
        self._feeder = Feeder(session)
        self._external = source.external  # onnxruntime reads these arrays in place
        self.label = source.label
        self.provider = provider
        known = [InputSpec.parse(a.name, a.type, a.shape) for a in session.get_inputs()]
        self.inputs = tuple(spec for spec in known if not spec.is_optional)
        self.optional_inputs = tuple(spec for spec in known if spec.is_optional)
        self.outputs = tuple(InputSpec.parse(a.name, a.type, a.shape) for a in session.get_outputs())
        self.n_provider_nodes, self.n_nodes = _count_nodes(session, provider)

    def run(self, feeds: Feeds, names: Sequence[str] | None = None) -> Outputs:
        """Run the model once.

        Args:
            feeds: one array per input.
            names: outputs to return; all of them by default.

        Returns:
            By output name, flattened as `flatten` says.

        Raises:
            CalibrationError: the feeds do not fit the inputs.
            ModelError: the model fails while it runs, or the session is closed.
        """
        if self._session is None:
            raise ModelError(f"{self.label}: the session is closed; open it again")
        wanted = [spec.name for spec in self.outputs] if names is None else list(names)
        try:
            values = self._feeder.run(self._session, wanted, feeds)
        except Exception as error:  # onnxruntime's exceptions share no base class
            finding = finding_of(error)
            is_unfit = isinstance(error, ValueError) and not isinstance(error, UnicodeDecodeError)
            if "INVALID_ARGUMENT" in str(error) or is_unfit:
                raise CalibrationError(
                    f"{self.label}: the feeds do not fit the model: {finding}",
                    step="pass others with `calibration`",
                ) from error
            raise ModelError(
                f"{self.label}: fails while running on {self.provider}: {finding}",
                step="pass inputs that it runs on with `calibration`",
            ) from error
        return dict(
            pair for name, value in zip(wanted, values, strict=True) for pair in flatten(name, value)
        )

    def set_limit(self, limit: RunLimit | None) -> None:
        """Limit the time of all later runs; one that takes longer is a ModelError."""
        self._feeder.limit = limit

    def close(self) -> None:
        """Free the session's memory."""
        self._session = None
        self._external = {}
        _return_freed_memory()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    """Return glibc's malloc_trim, None with another C library."""
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
    return trim


def _return_freed_memory() -> None:
    """Give the pages that a session has freed back to the system, which malloc keeps for itself."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


def probe_provider(provider: str) -> str:
    """Return "" if the provider starts on this machine, else the reason in one line."""
    try:
        open_session(LoadableModel(PROBE_MODEL, "probe"), provider=provider).close()
    except (ModelError, ProviderError) as error:
        return str(error).removeprefix("probe: ")
    return ""


def open_session(
    source: LoadableModel,
    *,
    provider: str = "CPU",
    optimisation: Optimisation = "all",
    custom_ops: Path | None = None,
    repeatable: bool = False,
    n_threads: int | None = None,
) -> Session:
    """Load a model.

    Args:
        source: the model.
        provider: a short or long provider name; nodes it does not take run on the CPU.
        optimisation: graph optimisation level.
        custom_ops: shared library of custom operators to register.
        repeatable: turn off arithmetic in which kernels of the provider differ by more than rounding.
        n_threads: all cores by default.

    Raises:
        ModelError: onnxruntime refuses the model.
        ProviderError: the provider is absent or cannot start, or an operator is unknown.
    """
    options = session_options(optimisation, custom_ops, n_threads)
    name = resolve_providers([provider])[0]
    settings = {"use_tf32": "0"} if repeatable and name == "CUDA" and _KNOWS_TF32 else {}
    return create_session(source, options, name, settings)


def session_options(
    optimisation: Optimisation, custom_ops: Path | None, n_threads: int | None = None
) -> ort.SessionOptions:
    """Return the options of all our sessions; see `open_session`."""
    options = ort.SessionOptions()
    options.log_severity_level = SILENT
    options.graph_optimization_level = _LEVELS[optimisation]
    options.intra_op_num_threads = n_threads or n_cores()
    options.inter_op_num_threads = 1
    # Threads that wait for work in a loop take the cores from BLAS and from other processes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if custom_ops is not None:
        try:
            # A bare file name would be searched for in the system's library folders.
            options.register_custom_ops_library(str(custom_ops.absolute()))
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise ProviderError(
                f"`custom_ops` {custom_ops}: {finding_of(error)}; build it for onnxruntime "
                f"{ort.__version__}, or check the path"
            ) from error
    return options


def create_session(
    source: LoadableModel,
    options: ort.SessionOptions,
    provider: str,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Session:
    """Load a model with options; see `open_session`."""
    providers = [(long_name(provider), dict(settings))]
    if provider != "CPU":
        providers.append((long_name("CPU"), {}))
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        # Providers log their failures to start through the process-wide logger.
        ort.set_default_logger_severity(SILENT)
    try:
        session = ort_session(source, options, providers)
    except (ModelError, ProviderError):
        raise
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise _load_error(source.label, provider, error) from error
    if long_name(provider) not in session.get_providers():
        raise ProviderError(
            f"{source.label}: {provider} is part of onnxruntime {ort.__version__} but cannot start; "
            "install its driver and libraries, or leave it out of `providers`"
        )
    return Session(session, source, provider)


def _load_error(label: str, provider: str, error: Exception) -> ModelError | ProviderError:
    finding = finding_of(error)
    unknown = re.search(r"(\S*:\w+)\(-?\d+\) is not a registered function/op", finding)
    if not unknown:
        unknown = re.search(r'\("[^"]*", (\w+), "([^"]+)", .*No Op registered for', finding)
    if unknown:
        operator = ":".join(reversed(unknown.groups()))
        return ProviderError(
            f"{label}: operator {operator} is unknown to onnxruntime {ort.__version__}; "
            "pass the library that has it as `custom_ops`"
        )
    if provider != "CPU":
        return ProviderError(
            f"{label}: cannot be loaded on {provider}: {finding}; leave {provider} out of `providers`"
        )
    finding = f"{label}: onnxruntime {ort.__version__} cannot load it: {finding}"
    return ModelError(finding, step="export the model again, or try another version of onnxruntime")


def _count_nodes(session: ort.InferenceSession, provider: str) -> tuple[int | None, int | None]:
    if provider == "CPU" or not hasattr(session, "get_provider_graph_assignment_info"):
        return None, None
    counts = {"": 0}
    for part in session.get_provider_graph_assignment_info():
        counts[part.ep_name] = counts.get(part.ep_name, 0) + len(part.get_nodes())
    return counts.get(long_name(provider), 0), sum(counts.values())


def n_cores() -> int:
    """Return how many cores this process may use; os.cpu_count() may be more in a container."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
