"""`resmlp predict` without MODEL: what its first argument may be, and images that are unusual but images."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from resmlp.hub.names import on_disk
from resmlp.hub.packaged import packaged_folder
from resmlp.hub.resolve import resolve

NOTE = "note: no MODEL is given: packaged:cifar10 ("


def noise(height: int = 9, width: int = 7) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def label(resmlp, *args: object) -> str:
    """Of the only image."""
    ended = resmlp("predict", *args, "--json", "--device", "cpu")
    assert ended.code == 0, ended.err
    (found,) = json.loads(ended.out)["predictions"]
    return found["label"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.jpg", None, "no image at missing.jpg (check the path)"),
        ("no/folder/missing.PNG", None, "no image at no/folder/missing.PNG"),
        ("missing.svg", None, "no image at missing.svg"),
        ("notes.txt", b"hello", "notes.txt is neither an image that is read nor a network (images end in .jpg"),
        ("drawing.svg", b"<svg/>", "drawing.svg is neither an image that is read"),
        ("empty", b"", "empty is neither an image that is read"),
        ("photos.zip", b"PK\3\4", "photos.zip is neither an image that is read"),
        ("photos.tar", bytes(2048), "photos.tar is neither an image that is read"),
        ("weights.pth", b"", "weights.pth"),
        ("a\nb.jpg", None, r"no image at a\nb.jpg"),
    ],
)
def test_a_first_argument_that_is_no_image_is_named(name, content, words, resmlp, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    for more in ([], [tmp_path / "other.jpg"]):
        noise().save(tmp_path / "other.jpg")
        ended = resmlp("predict", name, *more)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1), ended.err
        assert words in ended.error


def test_a_pipe_is_named(resmlp, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "pipe is a pipe" in resmlp("predict", "pipe").error


def test_a_folder_of_images_is_predicted_without_a_model(resmlp, tmp_path):
    for name in ("b/2.png", "1.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        noise().save(tmp_path / "photos" / name)
    noise().save(tmp_path / "3.png")
    ended = resmlp("predict", "photos", "3.png")
    assert ended.code == 0
    assert [line.partition(": ")[0] for line in ended.out.splitlines()] == ["photos/1.jpg", "photos/b/2.png", "3.png"]
    assert ended.err.startswith(NOTE)


@pytest.mark.parametrize("content", [None, "notes.txt"])
def test_a_folder_without_images_and_network(resmlp, tmp_path, content):
    (tmp_path / "folder").mkdir()
    if content:
        (tmp_path / "folder" / content).touch()
    ended = resmlp("predict", "folder")
    assert "no model.safetensors in folder, and no images (not a run folder; images end in" in ended.error
    assert ended.err.count("\n") == 1


def test_a_run_that_is_not_finished_is_no_folder_of_images(resmlp, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.json").write_text("{}")
    noise().save(tmp_path / "run" / "figure.png")
    assert "the run is not finished" in resmlp("predict", "run").error


def test_a_name_with_a_dash_goes_after_two_dashes(resmlp, tmp_path):
    noise().save(tmp_path / "-dash.jpg")
    wanted = label(resmlp, "./-dash.jpg")
    for command in (["predict", "-dash.jpg"], ["predict", "packaged:cifar10", "-dash.jpg"]):
        ended = resmlp(*command)
        assert (ended.code, ended.err.count("\n")) == (2, 1)
        assert "-dash.jpg" in ended.error
        assert "./-dash.jpg" in ended.error
    ended = resmlp("predict", "--device", "cpu", "--", "-dash.jpg")
    assert ended.code == 0, ended.err
    assert wanted in ended.out


@pytest.mark.parametrize("command", [["predict", "packaged:cifar10", "x.png"], ["translate", "packaged:numbers", "t"]])
def test_files_named_as_a_packaged_network_do_not_replace_it(command, resmlp, tmp_path):
    noise().save(tmp_path / "x.png")
    (tmp_path / "t").write_text("seven\n")
    name, answers = command[1], []
    for make in (lambda: None, (tmp_path / name).touch, (tmp_path / name).mkdir):
        if on_file := (tmp_path / name).exists():
            (tmp_path / name).unlink()
        make()
        ended = resmlp(*command, "--device", "cpu")
        assert ended.code == 0, (on_file, ended.err)
        answers.append(ended.out)
    assert len({*answers}) == 1
    assert not on_disk(name)
    assert on_disk(f"./{name}")
    assert resolve(name).path == packaged_folder(name.partition(":")[2])


UNUSUAL = {
    "1x1.png": lambda path: noise(1, 1).save(path),
    "1x3000.png": lambda path: noise(3000, 1).save(path),
    "cmyk.jpg": lambda path: noise().convert("CMYK").save(path),
    "animated.gif": lambda path: noise().save(path, save_all=True, append_images=[noise(9, 7).rotate(90)]),
    "line\nbreak.png": lambda path: noise().save(path),
    "palette.png": lambda path: noise().convert("P").save(path),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_image_is_predicted(name, resmlp, tmp_path):
    UNUSUAL[name](tmp_path / name)
    ended = resmlp("predict", name, "--device", "cpu")
    assert ended.code == 0, ended.err
    assert ended.out.count("\n") == 1
