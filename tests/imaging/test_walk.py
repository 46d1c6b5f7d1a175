"""Which files below a folder are images, and what is passed over."""

import io
import os
import socket
from pathlib import Path

import pytest
from PIL import Image

from resmlp.imaging.file_types import EXTENSIONS, HEAD, is_image
from resmlp.imaging.image_file import File
from resmlp.imaging.listing import list_images
from resmlp.imaging.walk import walk
from resmlp.utils.errors import UserError

KINDS = sorted(set(EXTENSIONS) - {"MPO"})


def encoded(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (20, 20), (200, 30, 30)).save(file, kind)
    return file.getvalue()


def put(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def found(root: Path) -> tuple[list[str], list[str], list[tuple[str, str]]]:
    """Images, other files, and (kind, path) of what is passed over."""
    skipped = []
    files = walk(root, skipped.append)
    return sorted(path for path, _ in files.images), files.others, sorted((item.kind, item.path) for item in skipped)


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_of_each_format_is_found_by_its_content_and_read(tmp_path, kind):
    ending = EXTENSIONS[kind][0]
    for name in (f"a{ending}", f"b{ending.upper()}", "no_ending", "c.dat"):
        put(tmp_path / name, encoded(kind))
    images, others, _ = found(tmp_path)
    assert (len(images), others) == (4, [])
    for name in images:
        red, _, blue = File(str(tmp_path / name)).read().getpixel((10, 10))
        assert red > 180
        assert blue < 60


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("notes.txt", b"BMW is a car, this is a note about the car\n"),
        ("notes", b"P5 is the fifth point\n"),
        ("x.jxl", b"\0\0\0\x0cJXL \r\n\x87\n"),
        ("x.dat", b"\0\0\0\x18ftypisom\0\0\0\0isomiso2"),  # a video
        ("video.mp4", b"\0\0\0\x18ftypisom\0\0\0\0isomavc1"),
        ("raw.nef", b"II*\0" + bytes(28)),
        ("sound.wav", b"RIFF\0\0\0\0WAVEfmt "),
        ("x.jpg.part", b"\xff\xd8\xff\xe0"),
        ("empty", b""),
    ],
)
def test_other_files_are_no_images(name, head):
    assert not is_image(name, head[:HEAD])


def test_pipes_sockets_and_devices_are_passed_over(tmp_path, monkeypatch):
    put(tmp_path / "a/1.png", encoded("PNG"))
    os.mkfifo(tmp_path / "a/pipe.jpg")
    os.mkfifo(tmp_path / "a/pipe")
    (tmp_path / "a/device.jpg").symlink_to("/dev/zero")
    monkeypatch.chdir(tmp_path / "a")  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.jpg")
        images, others, skipped = found(tmp_path)
    assert (images, others) == (["a/1.png"], [])
    assert skipped == [("special-file", f"a/{name}") for name in ("device.jpg", "pipe", "pipe.jpg", "s.jpg")]


@pytest.mark.parametrize("target", ["pipe", "device"])
def test_a_pipe_is_not_waited_for(tmp_path, target):
    path = tmp_path / "x.jpg"
    os.mkfifo(path) if target == "pipe" else path.symlink_to("/dev/zero")
    with pytest.raises(UserError, match="not a regular file"):
        File(str(path)).read()
    with pytest.raises(UserError, match="a pipe, a socket or a device"):
        list_images([path])


def test_a_folder_for_prediction_names_what_it_passes_over(tmp_path, capsys):
    put(tmp_path / "1.jfif", encoded("JPEG"))
    put(tmp_path / "runs/x/recipe.json")
    put(tmp_path / "runs/x/figures/1.png", encoded("PNG"))
    os.mkfifo(tmp_path / "x.jpg")
    assert list_images([tmp_path]) == [str(tmp_path / "1.jfif")]
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "runs/" in err
    assert "x.jpg" in err


NOT_DATA = {
    "a run": ["mine/recipe.json", "mine/.lock", "mine/figures/1.png"],
    "a finished run, copied": ["cat/run/recipe.json", "cat/run/model.json", "cat/run/inspect/1.png"],
    "an export": ["export/x/model.json", "export/x/model.onnx", "export/x/1.png"],
    "inspect": ["inspect/x/inspect.json", "inspect/x/report.html", "inspect/x/figure2.png"],
    "predictions": ["predictions/1-overlay.png", "predictions/1-labels.png"],
    "runs": ["runs/detect/train/1.png"],
    "ultralytics": ["detect/args.yaml", "detect/results.csv", "detect/1.png"],
    "TensorBoard": ["logs/events.out.tfevents.1.x", "logs/1.png"],
    "a virtual environment": ["env/pyvenv.cfg", "env/lib/1.png"],
    "Synology": ["cat/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg"],
    "macOS": ["__MACOSX/cat/1.png"],
    "wandb": ["wandb/run/media/1.png"],
    "Jupyter": [".ipynb_checkpoints/1-checkpoint.png"],
    "thumbnails": ["cat/.thumbnails/1.png"],
}


@pytest.mark.parametrize("name", NOT_DATA)
def test_folders_that_are_not_data(tmp_path, name):
    put(tmp_path / "cat/1.png", encoded("PNG"))
    for path in NOT_DATA[name]:
        put(tmp_path / path, encoded("PNG"))
    images, _, skipped = found(tmp_path)
    assert images == ["cat/1.png"]
    assert [kind for kind, _ in skipped] in (["passed-over"], ["hidden"])


@pytest.mark.parametrize(
    "paths", [["runs/1.png", "runs/recipe.txt"], ["cake/recipe.json", "cake/1.png"], ["inspect/1.png"], ["logs/1.png"]]
)
def test_classes_that_are_called_like_outputs(tmp_path, paths):
    for path in paths:
        put(tmp_path / path, encoded("PNG") if path.endswith("png") else b"{}")
    assert found(tmp_path)[0] == [path for path in paths if path.endswith("png")]


def test_a_run_in_the_root_itself(tmp_path):
    for path in ("recipe.json", ".lock", "report.html"):
        put(tmp_path / path)
    for path in ("cat/1.png", "figures/1.png", "checkpoints/step-1/x.png"):
        put(tmp_path / path, encoded("PNG"))
    assert found(tmp_path)[0] == ["cat/1.png"]
