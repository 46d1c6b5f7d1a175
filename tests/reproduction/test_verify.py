"""`resmlp reproduce --verify`: networks that must have the numbers that are kept beside them."""

import json
import shutil
from pathlib import Path

import pytest

from resmlp.cli.main import main
from resmlp.hub import packaged
from resmlp.reproduction import verify as module
from resmlp.reproduction.verify import EXPECTED, Check, verify
from resmlp.utils.errors import UserError


@pytest.fixture
def networks(tmp_path) -> Path:
    """A folder with the packaged translator."""
    shutil.copytree(packaged.FOLDER / "numbers", tmp_path / "networks" / "numbers")
    return tmp_path / "networks"


def change(networks: Path, **fields) -> None:
    path = networks / "numbers" / EXPECTED
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize(
    ("metric", "expected", "measured", "holds"),
    [
        ("top1", 0.8124, 0.8134, True),
        ("top1", 0.8124, 0.8135, False),
        ("top1", 0.8124, 0.8113, False),
        ("top1", 0.8124, float("nan"), False),
        ("bleu", 37.5, 37.6, True),
        ("bleu", 37.5, 37.39, False),
    ],
)
def test_a_tenth_of_a_point_is_allowed(metric, expected, measured, holds):
    assert Check("x", metric, expected, measured).holds == holds


@pytest.mark.slow
def test_the_packaged_networks_have_their_numbers(shared, capsys):
    assert main(["reproduce", "--verify", "--data.root", str(shared), "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == packaged.packaged_names()
    assert all(line.endswith(": ok") for line in lines)


@pytest.mark.slow
def test_another_number_is_an_error_after_all_are_shown(networks, monkeypatch, capsys):
    change(networks, numbers={"exact_match": 0.99})
    monkeypatch.setattr(module.verify, "__defaults__", ((networks,), "cpu"))
    assert main(["reproduce", "--verify", "--json"]) == 2
    shown = capsys.readouterr()
    (check,) = json.loads(shown.out)["checks"]
    assert (check["expected"], check["holds"]) == (0.99, False)
    assert "numbers exact_match differs by more than 0.1 points" in shown.err


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"numbers": {}}, "no numbers"),
        ({"numbers": {"exact_match": "high"}}, "not as it should be"),
        ({"numbers": [0.5]}, "not as it should be"),
        ({"data": "../numbers"}, "names no data"),
        ({"data": 3}, "names no data"),
        ({"options": {"hue": 1}}, "not as it should be"),
        ({"data": "cifar10"}, "--data.root"),
    ],
)
def test_a_wrong_file_is_named(fields, named, networks):
    change(networks, **fields)
    with pytest.raises(UserError, match=named):
        verify(None, (networks,))


def test_a_folder_without_expected_numbers_is_an_error(tmp_path):
    with pytest.raises(UserError, match=EXPECTED):
        verify(None, (tmp_path,))


@pytest.mark.parametrize(("args", "named"), [((), "no TABLE"), (("table3", "--verify"), "table3 is given")])
def test_a_table_or_verify(args, named, capsys):
    assert main(["reproduce", *args]) == 2
    assert named in capsys.readouterr().err
