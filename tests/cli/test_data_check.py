"""`resmlp data check`: exit codes, output, and Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from colored import plant
from PIL import Image

from resmlp import check_data
from resmlp.utils.files import read_json


@pytest.fixture
def broken(tmp_path) -> Path:
    """Colors of 8x8 pixels in three classes, with seven empty files and a text file."""
    root = plant(tmp_path / "colors")
    for i in range(7):
        (root / "red" / f"empty{i}.png").touch()
    (root / "red" / "notes.txt").write_text("x")
    return root


def test_a_clean_tree(resmlp, tree):
    ended = resmlp("data", "check", tree, "--img-size", 8)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"{tree}: 36 images, headers read in ")
    assert "12 to 12 per class" in ended.out
    assert ended.out.endswith("modes   RGB 36\nno issues\n")


def test_errors_come_first_and_set_the_exit_code(resmlp, broken):
    ended = resmlp("data", "check", broken)
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert ended.error.startswith("error: 1 issue must be fixed before training: unreadable 7 (")
    issues = [line for line in ended.out.splitlines() if " -> " in line]
    assert [line.split()[0] for line in issues] == ["error", "warning", "note"]
    assert "images that cannot be read (7): red/empty0.png (the file is empty), " in issues[0]
    assert "red/empty4.png (the file is empty) and 2 more -> " in issues[0]


def test_json_and_out_are_the_same_object(resmlp, broken, tmp_path):
    ended = resmlp("data", "check", broken, "--json", "--decode", "--workers", 2, "--out", tmp_path / "new" / "r.json")
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    result = json.loads(ended.out)
    assert result == read_json(tmp_path / "new" / "r.json")
    assert result["decoded"] is True
    unreadable = result["issues"][0]
    assert (unreadable["kind"], unreadable["count"]) == ("unreadable", 7)
    assert unreadable["names"] == [f"red/empty{i}.png" for i in range(7)]


@pytest.mark.parametrize("flags", [(), ("--decode", "--img-size", "16"), ("--workers", "1")], ids=" ".join)
def test_json_is_the_report_of_check_data(resmlp, broken, flags):
    printed = json.loads(resmlp("data", "check", broken, "--json", *flags).out)
    decode, size = "--decode" in flags, 16 if "--img-size" in flags else 32
    report = check_data(broken, decode=decode, img_size=(size,)).to_dict()
    assert printed | {"seconds": 0} == report | {"seconds": 0}


def test_text_is_that_of_the_report(resmlp, broken):
    lines, report = resmlp("data", "check", broken).out.splitlines(), check_data(broken)
    assert lines[1:] == str(report).splitlines()[1:], "only the first line has the seconds"


def test_tree_of_masks_is_an_error(resmlp, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    ended = resmlp("data", "check", tmp_path)
    assert (ended.code, ended.out) == (2, "")
    assert f"{tmp_path} contains images with segmentation masks (resmlp train scenes" in ended.error


def test_out_that_cannot_be_written(resmlp, tree, tmp_path):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file" / "r.json", tmp_path):
        ended = resmlp("data", "check", tree, "--out", out)
        assert ended.code == 2
        assert "cannot write" in ended.error
    assert not list(tmp_path.rglob("*.part"))


def root_of(tmp_path: Path, kind: str) -> Path:
    root = tmp_path / "root"
    match kind:
        case "empty":
            root.mkdir()
        case "file":
            root.write_text("x")
        case "archive":
            root = tmp_path / "a.tar"
            root.touch()
        case "notes":
            root.mkdir()
            (root / "notes.txt").touch()
        case "loop":
            root.symlink_to(root)
    return root


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "no such file or folder"),
        ("empty", "is empty"),
        ("file", "is a file (give a folder, a .parquet, or an archive"),
        ("archive", "cannot read the archive"),
        ("notes", "holds no images, only 1 other file"),
        ("loop", "root"),
    ],
)
def test_root_without_images(resmlp, tmp_path, kind, words):
    ended = resmlp("data", "check", root_of(tmp_path, kind))
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.count("\n") == 1
    assert words in ended.error
    assert "--data.root" not in ended.error.partition("(")[0]


def test_root_without_permission(resmlp, tmp_path, monkeypatch):
    def iterdir(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", iterdir)
    ended = resmlp("data", "check", tmp_path)
    assert ended.code == 2
    assert ended.error == f"error: cannot list {tmp_path}: Permission denied (check its permissions)"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["data"], "resmlp data check PATH"),
        (["data", "--json"], "resmlp data check PATH"),
        (["data", "chekc", "x"], "did you mean data check"),
        (["data", "check"], "PATH"),
        (["data", "check", "x", "--workers", "0"], "--workers 0"),
        (["data", "check", "x", "--img-size", "0"], "--img-size 0"),
        (["data", "check", "x", "--img-size", "1", "2", "3"], "--img-size 1 2 3"),
        (["data", "check", "x", "--out", ""], "--out"),
        (["data", "check", "x", "--decod"], "did you mean --decode?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_invalid_arguments(resmlp, args, words):
    ended = resmlp(*args)
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.error


def test_help_loads_nothing_heavy():
    code = (
        "import contextlib, sys; from resmlp.cli.main import main\n"
        "for args in (['data', '--help'], ['data', 'check', '--help'], ['data', 'chek']):\n"
        "    with contextlib.suppress(SystemExit): main(args)\n"
        "sys.exit(bool({'torch', 'numpy', 'PIL', 'rich.progress'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert "usage: resmlp data check" in done.stdout


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to see the workers")
def test_ctrl_c_ends_the_process_and_its_workers(tmp_path):
    """The signal goes to the whole process group, as from a terminal."""
    first = tmp_path / "t" / "a" / "0.jpg"
    first.parent.mkdir(parents=True)
    Image.effect_noise((2000, 2000), 99).save(first)
    for i in range(1, 1000):
        os.link(first, first.with_name(f"{i}.jpg"))
    command = [sys.executable, "-m", "resmlp", "data", "check", tmp_path / "t", "--decode", "--workers", "2"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.Popen(command, stdout=-1, stderr=-1, text=True, start_new_session=True, env=env)
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children")
    while run.poll() is None and len(children.read_text().split()) < 2:
        time.sleep(0.05)
    workers = children.read_text().split()
    os.killpg(run.pid, signal.SIGINT)
    out, err = run.communicate(timeout=200)
    assert (run.returncode, out, err) == (130, "", "stopped\n")
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_parallel_text_is_recognized(resmlp, tmp_path):
    (tmp_path / "train.en").write_text("one\ntwo\none\n")
    (tmp_path / "train.de").write_text("eins\nzwei\neins\n")
    ended = resmlp("data", "check", tmp_path)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"{tmp_path}: 3 pairs, every line read in ")
    assert "\nwarning  pairs more than once in a part (1): train.en and train.de, line 3 = " in ended.out
    assert "--decode is for images" in resmlp("data", "check", tmp_path, "--decode").error
    (tmp_path / "train.de").write_text("eins\n")
    ended = resmlp("data", "check", tmp_path, "--json", "--out", tmp_path / "r.json")
    assert ended.code == 2
    assert json.loads(ended.out) == read_json(tmp_path / "r.json")
    assert json.loads(ended.out)["issues"][0]["kind"] == "line-counts"


def test_the_error_of_float_images_names_a_flag_of_the_check(resmlp, tmp_path):
    for i in range(4):
        path = tmp_path / "tree" / "ab"[i % 2] / f"{i}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.linear_gradient("L").rotate(90 * i).convert("F").point(lambda value: value * (1 / 255) + 0).save(path)
    ended = resmlp("data", "check", tmp_path / "tree", "--workers", 1)
    assert ended.code == 2
    assert "32-bit samples from 0 to 1, of unknown range: set --data.value-range" in ended.out
    ended = resmlp("data", "check", tmp_path / "tree", "--workers", 1, "--near", "off", "--data.value-range", 0, 1)
    assert (ended.code, ended.err) == (0, "")
