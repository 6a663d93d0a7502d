"""Names of execution providers: short ones for people ("CUDA"), long ones for onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence

import onnxruntime as ort

from onnxzip.errors import ProviderError, did_you_mean


def available_providers() -> tuple[str, ...]:
    """Return the short names of the providers compiled into the installed onnxruntime."""
    return tuple(short_name(name) for name in ort.get_available_providers())


def resolve_providers(requested: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return the short names of the providers to validate on, without duplicates.

    Args:
        requested: any of "CUDA", "cuda", "CUDAExecutionProvider"; None for the CPU and every
            accelerator compiled in (`probe_provider` says whether one really starts).

    Raises:
        ProviderError: one that was asked for is not compiled in.
    """
    return choose_providers(available_providers(), requested, ort.__version__)


_SUFFIX = "ExecutionProvider"
"""What onnxruntime's names end in."""

_SHORT_NAMES = {
    "Tensorrt": "TensorRT",
    "NvTensorRTRTX": "TensorRT-RTX",
    "ROCM": "ROCm",
    "Dml": "DirectML",
    "WebGpu": "WebGPU",
    "Js": "JS",
    "Nnapi": "NNAPI",
    "Xnnpack": "XNNPACK",
    "Dnnl": "DNNL",
}
"""What people call those providers whose name onnxruntime spells otherwise."""

_NOT_ACCELERATORS = ("CPU", "Azure")
"""What no accelerator is: Azure sends the data to a server."""


def choose_providers(
    present: Sequence[str], requested: Sequence[str] | None, version: str
) -> tuple[str, ...]:
    """Return the short names of the requested providers, without duplicates.

    Args:
        present: short names of those compiled into onnxruntime.
        requested: any of "CUDA", "cuda", "CUDAExecutionProvider"; None for the CPU and all accelerators.
        version: onnxruntime's, for the message.

    Raises:
        ProviderError: one that was asked for is not present.
    """
    if requested is None:
        return ("CPU", *(name for name in present if name not in _NOT_ACCELERATORS))
    known = {alias.lower(): name for name in present for alias in (name, long_name(name), _stem(name))}
    missing = [name for name in requested if name.lower() not in known]
    if missing:
        meant = did_you_mean(missing[0], present, "install the package built for it, or leave it out")
        raise ProviderError(
            f"`providers`: {', '.join(missing)} not in onnxruntime {version}, "
            f"which has {', '.join(present)}; {meant}"
        )
    return tuple(dict.fromkeys(known[name.lower()] for name in requested))


def _stem(short_name: str) -> str:
    return next((stem for stem, short in _SHORT_NAMES.items() if short == short_name), short_name)


def long_name(short_name: str) -> str:
    """Return onnxruntime's name of a provider: "CUDA" -> "CUDAExecutionProvider"."""
    return _stem(short_name) + _SUFFIX


def short_name(name: str) -> str:
    """Return our name of a provider: "DmlExecutionProvider" -> "DirectML"."""
    stem = name.removesuffix(_SUFFIX)
    return _SHORT_NAMES.get(stem, stem)
