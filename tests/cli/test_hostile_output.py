"""What a terminal, a pipe and a signal may do to the command line."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from resmlp.cli.base import print_json, print_text
from resmlp.utils.errors import is_out_of_memory
from resmlp.utils.files import read_json, write_json

PROGRAM = """
import os, signal, sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "{module}":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
signal.signal(signal.SIGINT, signal.default_int_handler)
from resmlp.__main__ import main
raise SystemExit(main())
"""
"""what the script `resmlp` does, with Ctrl-C at the import of a module"""
NAMES = (
    "red\x1b[31mname",
    "turned\u202egpj",
    "mark\u200e\u200f\u061c",
    "bell\x07",
    "c1\x9b31m",
    "isolated\u2066x\u2069",
)


def safe(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


@pytest.fixture(scope="module")
def renamed(trained, tmp_path_factory) -> Path:
    """The run of three colors with classes of hostile names."""
    folder = tmp_path_factory.mktemp("hostile") / "run"
    shutil.copytree(trained, folder)
    content = read_json(folder / "model.json")
    write_json(folder / "model.json", content | {"classes": list(NAMES[:3])})
    return folder


@pytest.fixture(scope="module")
def hostile(tree, renamed, tmp_path_factory) -> Path:
    """The images in folders and files of hostile names."""
    root = tmp_path_factory.mktemp("images")
    for name, folder in zip(NAMES, sorted(tree.iterdir())):
        (root / name).mkdir()
        for number, file in enumerate(sorted(folder.iterdir())[:3]):
            shutil.copy(file, root / name / f"{name}{number}.png")
    (root / NAMES[0] / f"broken{NAMES[1]}.png").write_bytes(b"no image")
    return root


def test_predict_escapes_names_and_its_json_has_the_real_ones(resmlp, renamed, hostile):
    ended = resmlp("predict", renamed, hostile)
    assert ended.code == 2
    assert safe(ended.out + ended.err)
    ended = resmlp("predict", renamed, hostile, "--json")
    assert ended.out.isascii()
    entries = json.loads(ended.out)["predictions"]
    assert len(entries) == 9
    assert all(Path(entry["file"]).is_file() for entry in entries)
    assert {entry["label"] for entry in entries} <= set(NAMES)


def test_eval_embed_and_train_escape_names(resmlp, train, renamed, hostile, tmp_path):
    for ended in (
        resmlp("eval", renamed, "--data.root", hostile, "--data.workers", 0),
        resmlp("embed", renamed, hostile, "--out", tmp_path / "x.npy", "--workers", 0),
        train("--data.root", hostile, "--data.batch-size", 4),
        resmlp("data", "check", hostile),
        resmlp("predict", renamed, tmp_path / f"missing{NAMES[0]}.png"),
        resmlp("predict", f"no{NAMES[2]}model", hostile),
        resmlp(f"verb{NAMES[0]}"),
    ):
        assert safe(ended.out + ended.err)
        assert ended.code in (0, 2)
    pages = [*(tmp_path / "run").rglob("*.html"), *(tmp_path / "run").rglob("*.md")]
    assert pages
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not any(name in text for name in NAMES)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8", "utf-16"])
def test_json_is_valid_in_any_encoding(monkeypatch, tmp_path, encoding):
    value = {"h\u00e9": ["\U0001f600", "\udcff", "\u202e", 0.5, float("nan"), float("inf")]}
    with (tmp_path / "out").open("w", encoding=encoding, errors="backslashreplace") as file:
        monkeypatch.setattr(sys, "stdout", file)
        print_json(value)
    text = (tmp_path / "out").read_bytes().decode(encoding)

    def refuse(constant):
        raise ValueError(constant)

    expected = {"h\u00e9": ["\U0001f600", "\udcff", "\u202e", 0.5, None, None]}
    assert json.loads(text, parse_constant=refuse) == expected


def test_lines_of_a_text_stay_lines(capsys):
    print_text("one\n  two\x1b[2J\nh\u00e9")
    assert capsys.readouterr().out == "one\n  two\\x1b[2J\nh\u00e9\n"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:126] err == 0. DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 10 bytes."),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer"),
        RuntimeError("Exception from src/inference/src/cpp/core.cpp:109: std::bad_alloc"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_missing_memory_is_one_line_with_advice(resmlp, monkeypatch, error):
    from resmlp.cli import List

    def fail(self):
        raise error

    assert is_out_of_memory(error)
    monkeypatch.setattr(List, "run", fail)
    ended = resmlp("list")
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert ended.error.startswith("error: not enough memory")
    assert "smaller network or batch" in ended.error


@pytest.mark.slow
@pytest.mark.parametrize(
    "module", ["resmlp.cli", "tyro", "numpy", "torch", "torch._C", "resmlp.training.train", "timm"]
)
def test_ctrl_c_shows_no_traceback_while_python_imports(tmp_path, module):
    """Before that, in the first 0.03 s, a traceback is Python's own: it has not come to a line of ours."""
    program = PROGRAM.format(module=module)
    command = [sys.executable, "-c", program, "train", "digits", "--out", str(tmp_path / "run")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (130, "stopped\n")
