"""Small models of every kind onnxzip must handle, and files it must refuse.

`CASES` maps a name to a `Case`: a seeded builder, its feeds and what is known of it.
`BAD_FILES` maps a name to a `BadFile`: a writer of something that is not a usable model.

    @pytest.mark.parametrize("case", CASES.values(), ids=str)
    def test_something(case: Case, tmp_path: Path) -> None:
        path = case.write(tmp_path)
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import tests.casebook.broken_external
import tests.casebook.control_flow
import tests.casebook.convolution
import tests.casebook.formats
import tests.casebook.linear
import tests.casebook.oddities
import tests.casebook.quantised
import tests.casebook.recurrent  # noqa: F401
from tests.casebook.broken import BAD_FILES, BadFile
from tests.casebook.kit import REGISTRY, Case

CASES: Mapping[str, Case] = MappingProxyType(REGISTRY)

__all__ = ["BAD_FILES", "CASES", "BadFile", "Case"]
