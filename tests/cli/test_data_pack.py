"""`resmlp data pack`, and the other commands on the folder that it writes."""

import json
from pathlib import Path

import numpy as np
import pytest

from resmlp.utils.files import read_json


@pytest.fixture(scope="module")
def packed(tmp_path_factory, tree) -> Path:
    from resmlp.cli.main import main

    out = tmp_path_factory.mktemp("packed") / "out"
    assert main(["data", "pack", str(tree), "--out", str(out), "--workers", "1"]) == 0
    return out


def test_it_says_what_was_packed(resmlp, tree, tmp_path):
    ended = resmlp("data", "pack", tree, "--out", tmp_path / "out", "--workers", 1)
    assert (ended.code, ended.err) == (0, "")
    first, *_, last = ended.out.splitlines()
    assert first.startswith(f"{tmp_path}/out: 36 images, 3 classes, in 1 shard of ")
    assert last == f"resmlp train folder --data.root {tmp_path}/out"
    again = json.loads(resmlp("data", "pack", tree, "--out", tmp_path / "out", "--json").out)
    assert (again["images"], again["written"], again["unreadable"]) == ({"all": 36}, 0, {})


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        ([], "missing --out"),
        (["--out", "x", "--max-side", "0"], "--max-side 0"),
        (["--out", "x", "--shard-size", "0"], "--shard-size 0"),
        (["--out", "x", "--workers", "0"], "--workers 0"),
    ],
)
def test_wrong_flags_are_one_line(resmlp, tree, flags, error):
    ended = resmlp("data", "pack", tree, *flags)
    assert ended.code == 2
    assert error in ended.error


@pytest.mark.slow
def test_commands_say_of_it_what_they_say_of_the_tree(resmlp, trained, tree, packed, tmp_path):
    """Of `eval`, `embed` and `predict`; training and `data check` are in tests/data/packing."""
    scores = [json.loads(resmlp("eval", trained, "--data.root", root, "--json").out) for root in (tree, packed)]
    assert scores[0]["top1"] == scores[1]["top1"]
    for name, root in (("tree", tree), ("packed", packed)):
        assert resmlp("embed", trained, root, "--out", tmp_path / f"{name}.npy", "--workers", 0).code == 0
    features = [np.load(tmp_path / f"{name}.npy") for name in ("tree", "packed")]
    np.testing.assert_array_equal(*features)
    rows = [read_json(tmp_path / f"{name}.json") for name in ("tree", "packed")]
    assert rows[0] == rows[1]
    found = [
        json.loads(resmlp("predict", trained, root, "--json", "--backend", "torch").out)["predictions"]
        for root in (tree, packed)
    ]
    for ours, theirs in zip(*found[::-1]):
        assert ours.pop("file") == f"{packed}/images-00000.tar:" + theirs.pop("file").removeprefix(f"{tree}/")
        assert ours == theirs


def test_a_packing_that_is_not_complete_is_an_error(resmlp, tree, packed, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "packing.resmlp.json").write_text('{"plan": "0"}')
    assert "is not packed to the end" in resmlp("data", "check", out).error
    assert "packed with other settings" in resmlp("data", "pack", tree, "--out", out).error
