"""Types that many records share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from numpy.typing import NDArray

Scalar: TypeAlias = bool | int | float | str
AttributeValue: TypeAlias = int | float | str | tuple[int, ...] | tuple[float, ...]
Form: TypeAlias = Literal["stored", "computed"]
Array: TypeAlias = NDArray[Any]
Feeds: TypeAlias = Mapping[str, Array]
