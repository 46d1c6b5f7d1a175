"""The columns of batch inference, by hand."""

import pytest

from resmlp.evaluation.batch_inference.columns import ClassColumns
from resmlp.evaluation.batch_inference.inputs import given_inputs
from resmlp.inference.prediction import LabelSet

pytest.importorskip("pyarrow")


def test_several_classes_of_an_image():
    """All from the threshold on, and the most probable ones; none is another answer than no answer."""
    columns = ClassColumns(2, several=True)
    results = {0: LabelSet(("a", "b"), (0.75, 0.5), ("a", "b")), 1: LabelSet((), (0.25,), ("c",))}
    inputs = given_inputs(["x.png", "y\udcff.png", "z.png"])
    schema = columns.schema("net")
    table = columns.table(schema, inputs, range(3), results, {2: "it is cut"})
    assert table.schema.metadata == {b"model": b"net"}
    assert table.to_pydict() == {
        "path": ["x.png", "y\\udcff.png", "z.png"],
        "label": [None] * 3,
        "labels": ["a|b", "", None],
        "class_1": ["a", "c", None],
        "probability_1": [0.75, 0.25, None],
        "class_2": ["b", None, None],
        "probability_2": [0.5, None, None],
        "error": [None, None, "it is cut"],
    }
    with pytest.raises(RuntimeError, match="2 results and 0 errors of 3 images"):
        columns.table(schema, inputs, range(3), results, {})
