"""The training set of the benchmark of imbalance: 60 and 3 images of a class, by links."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def imbalance(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("imbalance", "machine", "options"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import imbalance

    return imbalance


def test_every_second_class_has_a_twentieth(imbalance, tmp_path):
    for part, count in (("train", 70), ("val", 5)):
        for name in "abc":
            (tmp_path / "set" / part / name).mkdir(parents=True)
            for i in range(count):
                (tmp_path / "set" / part / name / f"{i}.jpg").touch()
    imbalance.make_tree(tmp_path / "set", tmp_path / "tree")
    counts = [len(list((tmp_path / "tree" / "train" / name).iterdir())) for name in "abc"]
    assert counts == [60, 3, 60]
    assert len(list((tmp_path / "tree" / "val" / "a").iterdir())) == 5
    assert all(path.is_symlink() for path in (tmp_path / "tree" / "train" / "a").iterdir())


def test_the_ways_differ_in_two_settings_only(imbalance):
    plain, weighted, drawn = (imbalance.recipe(way, "x", 0) for way in imbalance.WAYS)
    assert (weighted.task.balance, drawn.data.resample) == (0.75, 1)
    assert (weighted.data, drawn.task) == (plain.data, plain.task)
    assert plain.optim == weighted.optim == drawn.optim
