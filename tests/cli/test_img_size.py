"""`--img-size` in the verbs that run a network."""

import json

import numpy as np
import processes
import pytest
from PIL import Image

import resmlp as package
from resmlp.cli.main import main


@pytest.fixture
def verbs(trained, tree, tmp_path):
    """Each verb with its arguments."""
    image = next(tree.rglob("*.png"))
    return {
        "eval": (trained, "--data.root", tree, "--data.workers", 0, "--out", tmp_path / "figures"),
        "predict": (trained, image),
        "embed": (trained, tree, "--workers", 0, "--out", tmp_path / "f.npy"),
        "profile": (trained, "--seconds", 0.01, "--batch", 1),
        "inspect": (trained, "--out", tmp_path / "inspect"),
        "export": (trained, "--to", "torch", "--out", tmp_path / "export"),
    }


VERBS = ["eval", "predict", "embed", "profile", "inspect", "export"]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("size", "words"),
    [
        ("9x8", "9x8 do not divide into patches of 2 (resmlp_digits) (try 8x8 or 10x8)"),
        ("32000", "choose a smaller size"),
        ("8x8x8", "--img-size 8x8x8"),
    ],
)
def test_bad_sizes_are_one_line_in_every_verb(resmlp, verbs, tmp_path, verb, size, words):
    ended = resmlp(verb, *verbs[verb], "--img-size", size)
    assert ended.code == 2
    assert words in ended.error
    assert len(ended.error) < 200
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("verb", ["eval", "predict", "embed"])
def test_timm_has_a_size_of_its_own(resmlp, verbs, verb):
    ended = resmlp(verb, "timm:resnet10t", *verbs[verb][1:], "--img-size", 16)
    assert ended.code == 2
    assert "timm:resnet10t is for images of one size" in ended.error


def test_a_translator_has_no_images(resmlp, translator_run):
    for verb in ("eval", "inspect", "profile", "export"):
        assert "translates text" in resmlp(verb, translator_run, "--img-size", 16).error


@pytest.mark.parametrize("size", ["12", "16x8", "native"])
def test_eval_predict_and_embed_see_the_same_images(resmlp, trained, tree, tmp_path, size):
    flags = ("--img-size", size, "--device", "cpu", "--json")
    ended = resmlp("eval", trained, "--data.root", tree, "--data.workers", 0, "--out", tmp_path, *flags)
    assert ended.code == 0, ended.err
    scores = json.loads(ended.out)
    assert (scores["images"], scores["top1"]) == (8, 1.0), "colors are colors at any size"
    files = sorted(map(str, tree.rglob("*.png")))
    found = json.loads(resmlp("predict", trained, *files, *flags).out)["predictions"]
    assert [entry["file"] for entry in found] == files
    assert all(entry["label"] in entry["file"] for entry in found)
    assert resmlp("embed", trained, tree, "--workers", 0, "--out", tmp_path / "f.npy", *flags).code == 0
    embedded = package.load(trained, "cpu", img_size=size).features([Image.open(file) for file in files])
    np.testing.assert_allclose(np.load(tmp_path / "f.npy"), embedded, rtol=0, atol=1e-4)


@pytest.fixture
def mixed(tree, tmp_path):
    """Images of three aspect ratios, three of each class, so that the processes see unlike shapes."""
    for number, file in enumerate(sorted(tree.rglob("*.png"))):
        if number % 4:
            size = [(40, 16), (16, 40), (24, 24)][number % 3]
            (tmp_path / "mixed" / "val" / file.parent.name).mkdir(parents=True, exist_ok=True)
            Image.open(file).resize(size).save(tmp_path / "mixed" / "val" / file.parent.name / file.name)
    return tmp_path / "mixed"


@pytest.mark.slow
def test_native_on_two_processes_is_that_on_one(resmlp, trained, mixed, tmp_path):
    flags = ["--data.root", mixed, "--data.workers", 0, "--data.batch-size", 2, "--img-size", "native"]
    flags += ["--device", "cpu", "--json", "--out"]
    alone = json.loads(resmlp("eval", trained, *flags, tmp_path / "one").out)
    words = [str(word) for word in ("eval", trained, *flags, tmp_path / "two")]
    first, second = processes.together(main, words, folder=tmp_path)
    found = json.loads(first[first.index("{") :])
    assert found.pop("images") == alone.pop("images") == 27
    assert {key: found[key] for key in ("top1", "top5")} == {key: alone[key] for key in ("top1", "top5")}
    assert "top1" not in second, "one process writes"


def test_native_has_no_crop(resmlp, trained, tree):
    flags = ("--data.root", tree, "--data.crop-ratio", "0.8", "--img-size", "native")
    assert "the whole image is seen" in resmlp("eval", trained, *flags).error


def test_profile_and_inspect_at_a_size(resmlp, verbs):
    (row,) = json.loads(resmlp("profile", *verbs["profile"], "--img-size", "16x8", "--json").out)["rows"]
    assert row["size"] == [16, 8]
    assert resmlp("inspect", *verbs["inspect"], "--img-size", "12").code == 0
