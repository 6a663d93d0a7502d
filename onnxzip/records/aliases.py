"""Types that many records share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from numpy.typing import NDArray

Scalar: TypeAlias = bool | int | float | str
AttributeValue: TypeAlias = int | float | str | tuple[int, ...] | tuple[float, ...]
Form: TypeAlias = Literal["stored", "computed"]
"""What a decoded value is: a weight; in files of older versions also a factor of nodes that stand for
another node."""
RunForm: TypeAlias = Literal["float32", "int8", "dynamic int8"]
"""What a node computes in; "dynamic int8" rounds its input by the range that it has in each run."""
Array: TypeAlias = NDArray[Any]
Feeds: TypeAlias = Mapping[str, Array]
