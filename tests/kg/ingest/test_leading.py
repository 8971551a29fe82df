"""Which of several texts of a row leads."""

import numpy as np
import pyarrow as pa
import pytest

from kg.ingest.columns import Column
from kg.ingest.leading import leading


@pytest.mark.parametrize("rows", [[0, 1, 2], [2, 0, 1], [1, 0], [2, 1, 0, 1]])
def test_each_row_has_its_own_text_in_whatever_order_they_come(rows):
    texts = [f"{row}, text {place}" for place, row in enumerate(rows)]
    column = Column("name", np.array(rows, np.int64), pa.array(texts))
    found = leading([column], 3, None, np.zeros(3, bool))
    expected = dict(reversed(list(zip(rows, texts, strict=True))))
    assert found.texts.to_pylist() == [expected.get(row) for row in range(3)]
    others = [text for each in found.beside for text in each.texts.to_pylist()]
    assert sorted([*expected.values(), *others]) == sorted(texts)
