"""Exports for several sizes: each graph against the network that is moved to its size."""

import shutil
from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import resmlp
from resmlp.config.preprocessing import Preprocessing
from resmlp.data import normalize
from resmlp.exporters.formats import FORMATS
from resmlp.models import open_model, save_model
from resmlp.models.at_size import at_size
from resmlp.utils.errors import UserError

SIZES = {"8x12": (8, 12), "16": (16, 16), "12": (12, 12)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A classifier with random weights for images of 8 x 12. Not to be written to."""
    torch.manual_seed(0)
    model = resmlp.create_model("resmlp_digits", img_size=(8, 12), num_classes=3, depth=2)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    path = tmp_path_factory.mktemp("sizes") / "run"
    save_model(path, model, ("ant", "bee", "cat"), Preprocessing((8, 12), 1.0))
    return path


@pytest.fixture(scope="module")
def export(folder, tmp_path_factory):
    """`export(format)`: what export to all sizes returns. Its folder is not to be written to."""

    @cache
    def run(to: str):
        for package in FORMATS[to].packages:
            pytest.importorskip(package)
        return resmlp.export(folder, to, tmp_path_factory.mktemp("sizes") / "out", img_size=list(SIZES))

    return run


@pytest.mark.slow
@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_every_size_equals_torch(folder, export, to):
    result = export(to)
    assert result.difference <= 1e-4
    assert {path.name for path in result.out.iterdir()} == {*result.files, "model.json"}
    assert {name.split(".")[0] for name in result.files} == {"model-8x12", "model-16x16", "model-12x12"}
    saved, exported = open_model(folder), resmlp.load(result.out)
    for size in SIZES.values():
        pixels = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
        inputs = normalize(pixels, saved.preprocessing.mean, saved.preprocessing.std)
        expected = at_size(saved, size).model(inputs).detach()
        np.testing.assert_allclose(exported.logits(pixels.numpy()), expected, rtol=0, atol=1e-4)
    with pytest.raises(UserError, match="images of 20x20 for an export for 8x12 and 16x16 and 12x12"):
        exported.logits(np.zeros((1, 3, 20, 20), np.uint8))


def test_prediction_at_a_size_of_the_export(folder, export, tmp_path, photo: Image.Image):
    shutil.copytree(export("onnx").out, tmp_path / "out")
    for size in (None, "8x12", 16):
        ours, theirs = resmlp.load(tmp_path / "out", img_size=size), resmlp.load(folder, "cpu", img_size=size)
        expected = theirs.predict(photo)
        assert ours.preprocessing == theirs.preprocessing
        assert ours.predict(photo).probabilities == pytest.approx(expected.probabilities, abs=1e-4)
    for size in (20, "native"):
        with pytest.raises(UserError, match="out is an export for images of 8x12 and 16x16 and 12x12"):
            resmlp.load(tmp_path / "out", img_size=size)
    resmlp.export(folder, "onnx", tmp_path / "out", img_size=16)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model.onnx", "model.json"}, "no old graphs"
    assert resmlp.load(tmp_path / "out").preprocessing.size == (16, 16)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"img_size": 9}, "9x9 do not divide into patches of 2"),
        ({"img_size": "native"}, "--img-size native is for eval, predict and embed"),
        ({"img_size": ["16", "30000"]}, "and this machine has"),
        ({"img_size": ["16", "12"], "to": "torch"}, "--img-size 16x16 12x12: an export to torch is for one size"),
    ],
)
def test_mistakes(folder, tmp_path, options, words):
    with pytest.raises(UserError, match=words):
        resmlp.export(folder, out=tmp_path / "out", **({"to": "torch"} | options if "to" in options else options))
    assert not (tmp_path / "out").exists()
