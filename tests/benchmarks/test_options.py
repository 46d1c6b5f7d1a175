"""`make bench` and `make bench-data`: which benchmarks they run, with which options, and what they say without data."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HELPERS = {
    "adaptations",
    "child_processes",
    "input_steps",
    "machine",
    "options",
    "cifar_teacher",
    "decoding_peers",
    "load_client",
    "package_network",
    "record",
    "resolution_recipes",
}
"""files of benchmarks/ that other benchmarks import, and those that record a run and package a network"""
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the Makefile alone, and an environment that counts as complete."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "ready").touch()
    return tmp_path


def make(folder: Path, *words: str) -> tuple[int, list[str], str]:
    """The exit code, the commands of benchmarks without running them, and the errors."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(["make", "-n", *words], cwd=folder, capture_output=True, text=True, env=environment)
    return done.returncode, re.findall(r"^\S+/python benchmarks/(.*)$", done.stdout, re.MULTILINE), done.stderr


def scripts() -> dict[str, bool]:
    """Each benchmark, and whether it takes `--data`."""
    paths = {path.stem: path for path in (ROOT / "benchmarks").glob("*.py") if path.stem not in HELPERS}
    return {name: "data_parser(" in path.read_text(encoding="utf-8") for name, path in paths.items()}


@needs_make
def test_bench_runs_each_benchmark_without_data_once(folder):
    code, commands, _ = make(folder, "bench")
    assert code == 0
    expected = {f"{name}.py" for name, reads in scripts().items() if not reads}
    assert sorted(commands) == sorted(expected - ({"accelerator.py"} if shutil.which("nvidia-smi") is None else set()))


@needs_make
def test_bench_data_runs_all_others_on_the_folders_of_data(folder):
    code, commands, _ = make(folder, "bench-data", "DATA=/d", "MULTI30K=/m x")
    assert code == 0
    assert sorted(commands) == [
        'compression.py --data "/d/cifar10"',
        'data_and_budget.py --data "/d/cifar10"',
        'data_check.py --data "/d/caltech20" "/d/imagenet_samples"',
        'dino.py --data "/d/cifar10"',
        'distillation.py --data "/d/cifar10"',
        'imbalance.py --data "/d/caltech20"',
        'input_pipeline.py --data "/d/imagenet_samples/imagenet_samples_256.tar"',
        'multilabel.py --data "/d/camvid"',
        'native_size.py --data "/d/caltech20"',
        'pack.py --data "/d/cifar10"',
        'resolution.py caltech20 --data "/d/caltech20"',
        'resolution.py cifar10 --data "/d/cifar10"',
        'rivals.py camvid --data "/d/camvid"',
        'rivals.py multi30k --data "/m x"',
        'transfer.py --data "/d/caltech20"',
        'translation_precision.py --data "/m x"',
    ]
    assert {command.split(".")[0] for command in commands} == {name for name, reads in scripts().items() if reads}


@needs_make
def test_one_benchmark_alone(folder):
    assert make(folder, "bench/knn")[1] == ["knn.py"]
    assert make(folder, "bench-data/camvid", "CAMVID=/c")[1] == ['rivals.py camvid --data "/c"']


@needs_make
def test_the_shell_keeps_its_path(folder):
    code, commands, error = make(folder, "bench-data", "PATH=/d")
    assert (code, commands) == (2, [])
    assert "DATA=FOLDER" in error
    assert error.count("\n") == 1


@needs_make
def test_bench_data_without_data_is_one_line(folder):
    done = subprocess.run(["make", "bench-data"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: bench-data needs data sets (make bench-data DATA=FOLDER)\n")


@needs_make
def test_a_failure_does_not_keep_the_others_from_running(folder):
    (folder / ".venv" / "bin").mkdir()
    python = folder / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\necho "ran $1"\ntest "$1" != benchmarks/timm_suite.py\n')
    python.chmod(0o755)
    done = subprocess.run(["make", "bench"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 2
    assert "ran benchmarks/decoding.py" in done.stdout
    assert "bench/timm_suite" in done.stderr


def test_the_shared_options(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from options import data_parser

    parsed = data_parser("What.\n\nmore", "images", runs="x").parse_args(["--data", str(tmp_path)])
    assert (parsed.data, parsed.runs) == (tmp_path, Path("runs/benchmarks/x"))
    several = data_parser("What.", "images", several=True).parse_args(["--data", str(tmp_path), "/"])
    assert several.data == [tmp_path, Path("/")]
    assert not hasattr(several, "runs")
    for arguments, words in (([], "--data"), (["--data", str(tmp_path / "no")], "no such file or folder")):
        with pytest.raises(SystemExit) as ended:
            data_parser("What.", "images").parse_args(arguments)
        assert ended.value.code == 2
        assert words in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_a_benchmark_without_its_data_says_so(tmp_path):
    command = [sys.executable, ROOT / "benchmarks" / "rivals.py", "camvid", "--data", tmp_path / "no"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(f"{tmp_path / 'no'}: no such file or folder")
