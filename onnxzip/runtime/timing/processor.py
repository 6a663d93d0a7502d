"""What processor models run on, and whether it multiplies 8-bit integers by instructions of its own."""

from __future__ import annotations

from functools import cache

from archspec.cpu import brand_string, host
from archspec.cpu.detect import detected_info

from onnxzip.records.costs.latency import Processor

_INT8 = {
    "avx_vnni": "AVX-VNNI",
    "avx_vnni_int8": "AVX-VNNI-INT8",
    "avx512_vnni": "AVX-512 VNNI",
    "amx_int8": "AMX-INT8",
    "asimddp": "SDOT/UDOT",
    "i8mm": "I8MM",
}
"""Instructions for sums of products of 8-bit integers that onnxruntime's kernels use, by Linux's names
(arch/x86/include/asm/cpufeatures.h, Documentation/arch/arm64/elf_hwcaps.rst)."""


@cache
def this_processor() -> Processor:
    """Return the processor of this machine, as far as the system tells."""
    # What Apple's are able to do is known by their names only, what a virtual one may by its flags only.
    features = {*detected_info().features, *host().features}
    name = " ".join((brand_string() or host().name).split())
    return Processor(name, tuple(told for flag, told in _INT8.items() if flag in features))
