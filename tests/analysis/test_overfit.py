"""Figure 4: overfitting to the validation set."""

import pytest
from matplotlib.text import Text
from PIL import Image

from resmlp.analysis.overfit import Point, draw_overfit, regression_line
from resmlp.paper import TABLES
from resmlp.reproduction import full
from resmlp.reproduction.figure4 import points
from resmlp.reproduction.record import make_record


def test_the_regression_line():
    points_on_line = [Point("", x, 1.3 * x - 0.4) for x in (0.76, 0.79, 0.81, 0.84)]
    assert regression_line(points_on_line) == (pytest.approx(1.3), pytest.approx(-0.4))
    assert regression_line(points_on_line[:2]) is None
    assert regression_line([Point("", 0.8, y) for y in (0.6, 0.7, 0.8)]) is None
    assert regression_line([]) is None


def test_default_bars_are_binomial():
    """The 95 % interval for n images is p ± 1.96 sqrt(p (1 - p) / n)."""
    (across, up) = Point("", 0.8, 0.68).bars()
    assert up.ravel() == pytest.approx([1.96 * (0.68 * 0.32 / 10_000) ** 0.5] * 2, rel=0.05)
    assert across.ravel() == pytest.approx([1.96 * (0.8 * 0.2 / 50_000) ** 0.5] * 2, rel=0.05)
    (across, up) = Point("", 0.8, 0.68, (0.79, 0.82), (0.6, 0.7)).bars()
    assert [*across.ravel(), *up.ravel()] == pytest.approx([0.01, 0.02, 0.08, 0.02])


def test_low_points_are_left_out_and_returned(tmp_path):
    groups = {"ours": [Point("low", 0.5, 0.4), Point("high", 0.8, 0.7)], "none": []}
    assert draw_overfit(groups, tmp_path / "figure.png") == (["low"], [])
    with Image.open(tmp_path / "figure.png") as written:
        assert written.size[0] == 1400
    assert (tmp_path / "figure.svg").read_text().lstrip().startswith("<?xml")
    assert draw_overfit({"ours": []}, tmp_path / "empty.png") == ([], [])


@pytest.fixture
def drawn(monkeypatch):
    """The axes of every figure that is saved."""
    from matplotlib.figure import Figure

    axes, draw = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (axes.append(self.axes[0]), draw(self, *a, **k)))
    return axes


def bars(axes) -> dict[tuple[float, float], list[float]]:
    """Point -> the ends of its bars: val low and high, V2 low and high."""
    ends = {}
    for container in axes.containers:
        across, up = (lines.get_segments()[0] for lines in container.lines[2])
        center = (round(float(up[0][0]), 6), round(float(across[0][1]), 6))
        ends[center] = [*(float(x) for x, _ in across), *(float(y) for _, y in up)]
    return ends


def test_bootstrap_bars_and_binomial_bars(tmp_path, drawn):
    groups = {
        "paper": [Point("a", 0.77, 0.65), Point("b", 0.79, 0.68)],
        "peers": [Point("c", 0.8, 0.69)],
        "here": [Point("a", 0.78, 0.66, (0.775, 0.786), (0.65, 0.675)), Point("d", 0.81, 0.7)],
    }
    draw_overfit(groups, tmp_path / "figure.png")
    axes = drawn[0]
    ends = bars(axes)
    assert set(ends) == {(0.77, 0.65), (0.79, 0.68), (0.78, 0.66)}
    assert ends[0.78, 0.66] == pytest.approx([0.775, 0.786, 0.65, 0.675])
    half = 1.96 * (0.65 * 0.35 / 10_000) ** 0.5
    assert ends[0.77, 0.65][2:] == pytest.approx([0.65 - half, 0.65 + half], abs=5e-4)
    entries = [text.get_text() for text in axes.get_legend().get_texts()]
    assert entries == ["paper; bars: binomial, 95 %", "peers", "here; bars: bootstrap, 95 %"]


def test_labels_do_not_overlap_and_others_are_returned(tmp_path, drawn):
    crowd = [Point(f"network {i}", 0.8 + i % 6 / 4000, 0.7 + i // 6 / 4000) for i in range(60)]
    crowd += [Point("far", 0.76, 0.6), Point("farther", 0.9, 0.85)]
    low, unlabeled = draw_overfit({"crowd": crowd}, tmp_path / "figure.png")
    axes = drawn[0]
    axes.figure.draw_without_rendering()  # the SVG has another size
    boxes = [Text.get_window_extent(text) for text in axes.texts]  # without the arrow of the annotation
    assert low == []
    assert 5 < len(unlabeled) < 60
    assert len(unlabeled) + len(axes.texts) == len(crowd)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_our_points_are_the_rows_with_both_numbers(tmp_path):
    folder = tmp_path / "figure4" / "paper" / "s24" / "seed-0"
    folder.mkdir(parents=True)
    (folder / "measured.json").write_text(
        '{"numbers": {"top1": 0.79, "v2": 0.68}, "top1_interval": [0.787, 0.794], "v2_interval": [0.67, 0.69]}'
    )
    record = make_record("figure4", TABLES["figure4"], full.PLANS["figure4"], "paper", tmp_path, {}, lambda model: {})
    groups = points(record)
    assert groups["ResMLP, measured here"] == [Point("s24", 0.79, 0.68, (0.787, 0.794), (0.67, 0.69))]
    assert len(groups["ResMLP, the paper (Table 3)"]) == 20
