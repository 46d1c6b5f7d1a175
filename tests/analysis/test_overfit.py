"""Figure 4."""

import pytest
from PIL import Image

from resmlp.analysis.overfit import Point, draw_overfit, line
from resmlp.paper import TABLES
from resmlp.reproduce import full
from resmlp.reproduce.figure4 import points
from resmlp.reproduce.record import make_record


def test_the_line_is_that_of_the_points():
    own = [Point("", x, 1.3 * x - 0.4) for x in (0.76, 0.79, 0.81, 0.84)]
    assert line(own) == (pytest.approx(1.3), pytest.approx(-0.4))
    assert line(own[:2]) is None
    assert line([Point("", 0.8, y) for y in (0.6, 0.7, 0.8)]) is None
    assert line([]) is None


def test_bars_are_the_binomials():
    """Of 10,000 pictures the 95 % interval is 1.96 sqrt(p (1 - p) / n) to each side."""
    (across, up) = Point("", 0.8, 0.68).bars()
    assert up.ravel() == pytest.approx([1.96 * (0.68 * 0.32 / 10_000) ** 0.5] * 2, rel=0.05)
    assert across.ravel() == pytest.approx([1.96 * (0.8 * 0.2 / 50_000) ** 0.5] * 2, rel=0.05)
    (across, up) = Point("", 0.8, 0.68, (0.79, 0.82), (0.6, 0.7)).bars()
    assert [*across.ravel(), *up.ravel()] == pytest.approx([0.01, 0.02, 0.08, 0.02])


def test_low_points_are_left_out_and_named(tmp_path):
    groups = {"ours": [Point("low", 0.5, 0.4), Point("high", 0.8, 0.7)], "none": []}
    assert draw_overfit(groups, tmp_path / "figure.png") == ["low"]
    assert Image.open(tmp_path / "figure.png").size[0] == 1400
    assert (tmp_path / "figure.svg").read_text().lstrip().startswith("<?xml")
    assert draw_overfit({"ours": []}, tmp_path / "empty.png") == []


def test_ours_are_the_rows_with_both_numbers(tmp_path):
    folder = tmp_path / "figure4" / "paper" / "s24" / "seed-0"
    folder.mkdir(parents=True)
    (folder / "measured.json").write_text(
        '{"numbers": {"top1": 0.79, "v2": 0.68}, "top1_interval": [0.787, 0.794], "v2_interval": [0.67, 0.69]}'
    )
    record = make_record("figure4", TABLES["figure4"], full.PLANS["figure4"], "paper", tmp_path, {}, lambda model: {})
    found = points(record)
    assert found["ResMLP, measured here"] == [Point("s24", 0.79, 0.68, (0.787, 0.794), (0.67, 0.69))]
    assert len(found["ResMLP, the paper (Table 3)"]) == 20
