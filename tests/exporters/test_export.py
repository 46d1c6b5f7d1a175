"""Exported files, run by their own programs, against the network before folding."""

import json
from dataclasses import replace

import pytest
import torch
from numeric import assert_rounded, on_pixels
from torch import nn

from resmlp.config.model_json import ExportedModelConfig
from resmlp.config.preprocessing import Preprocessing
from resmlp.config.vision import ARCHITECTURES
from resmlp.exporters import formats
from resmlp.exporters.checked_files import check_out
from resmlp.exporters.export import difference, export_saved, exported_config
from resmlp.exporters.formats import FORMATS, check_packages
from resmlp.exporters.image_graphs import probes
from resmlp.hub.resolve import read_config
from resmlp.models import Saved, create_model
from resmlp.utils.errors import UserError, install_hint
from resmlp.utils.serialization import to_dict

SIZE = (8, 12)
PREPROCESSING = Preprocessing(SIZE, 1.0, "bicubic", (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


def saved(name="resmlp_digits", num_classes=3, **changes) -> Saved:
    """A network on a grid of 4x6; all its parameters are random."""
    model = create_model(name, img_size=SIZE, num_classes=num_classes, patch_size=2, dim=8, depth=2, heads=2, **changes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return Saved(model.eval(), ("a", "b", "c")[:num_classes], PREPROCESSING)


def require(to: str) -> None:
    for package in FORMATS[to].packages:
        pytest.importorskip(package)


@pytest.mark.parametrize(
    ("to", "pixels"), [("onnx", False), ("openvino", True), ("torch", False), ("executorch", False)]
)
@torch.no_grad()
def test_any_number_of_images(to, pixels, tmp_path):
    require(to)
    network = saved()
    config = export_saved(network, tmp_path / "out", to, with_preprocessing=pixels)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model.json", *config.files}
    assert read_config(tmp_path / "out" / "model.json") == config
    assert config.classes == ("a", "b", "c")
    assert config.model == network.model.config
    assert 0 <= config.difference <= 1e-4
    run = FORMATS[to].open(tmp_path / "out")
    for count in range(1, 6):
        if pixels:
            images = torch.randint(0, 256, (count, 3, *SIZE), dtype=torch.uint8)
            assert_rounded(run(images), on_pixels(network.model, PREPROCESSING, nn.Softmax(1)), images.float())
        else:
            images = torch.randn(count, 3, *SIZE)
            assert_rounded(run(images), network.model, images)
    assert run(images).std() > 1e-2, "outputs depend on the image"


SAME = {"patch_size": 2, "dim": 8, "depth": 2, "heads": 2, "token_hidden": None, "layer_scale": 0.1, "init": "local"}
KINDS = {replace(architecture, **SAME): name for name, architecture in reversed(ARCHITECTURES.items())}
"""a name for each architecture; other names differ in sizes and in the first weights"""
del KINDS[
    replace(ARCHITECTURES["resmlp_s12_globalfilter"], **SAME)
]  # `numeric` bounds no Fourier transform; see its test


@pytest.mark.parametrize("name", KINDS.values())
@torch.no_grad()
def test_every_architecture_and_any_batch(name, tmp_path):
    require("onnx")
    network = saved(name)
    export_saved(network, tmp_path, "onnx")
    run, images = FORMATS["onnx"].open(tmp_path), torch.randn(64, 3, *SIZE)
    for count in (1, 7, 64):
        assert_rounded(run(images[:count]), network.model, images[:count])
    assert network.model(images).std() > 1e-2


def test_names_and_shapes_of_the_graph(tmp_path):
    require("onnx")
    import onnxruntime

    export_saved(saved(), tmp_path, "onnx", with_preprocessing=True)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (images,), (probabilities,) = session.get_inputs(), session.get_outputs()
    assert (images.name, images.type, images.shape[1:]) == ("images", "tensor(uint8)", [3, *SIZE])
    assert isinstance(images.shape[0], str)
    assert probabilities.name == "probabilities"


@pytest.mark.parametrize("changes", [{"mixer": "attention", "pool": "classtoken"}, {"mixer": "sepconv"}])
def test_features_of_other_mixers(changes, tmp_path):
    require("onnx")
    config = export_saved(saved(num_classes=0, **changes), tmp_path, "onnx")
    assert config.output == "features"
    assert FORMATS["onnx"].open(tmp_path)(torch.zeros(2, 3, *SIZE)).shape == (2, 8)


def test_only_an_export_to_the_same_format_is_replaced(tmp_path):
    export_saved(saved(), tmp_path / "out", "torch")
    before = (tmp_path / "out" / "model.pt2").read_bytes()
    export_saved(saved(), tmp_path / "out", "torch")
    assert (tmp_path / "out" / "model.pt2").read_bytes() != before
    with pytest.raises(UserError, match="holds an export to torch"):
        check_out(tmp_path / "out", "onnx", ["model.onnx"], ExportedModelConfig)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.json").write_text("{}")
    with pytest.raises(UserError, match="would replace .*model.json, which export did not write"):
        export_saved(saved(), tmp_path / "run", "torch")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.pt2").write_text("mine")
    with pytest.raises(UserError, match="would replace .*model.pt2"):
        export_saved(saved(), tmp_path / "other", "torch")
    assert (tmp_path / "other" / "model.pt2").read_text() == "mine"


@pytest.mark.parametrize("output", [1e-3, float("nan")])
def test_a_large_difference_is_refused_and_nothing_is_written(output, tmp_path, monkeypatch):
    form = FORMATS["torch"]
    off = form._replace(write=lambda *_: None, open=lambda _: lambda images: torch.full((len(images), 3), output))
    monkeypatch.setitem(FORMATS, "torch", off)
    network = saved()
    with torch.no_grad():
        for parameter in network.model.head.parameters():
            parameter.zero_()
    with pytest.raises(UserError, match=r"logits differ by (1.0e-03|nan), more than 0.0001: nothing is written"):
        export_saved(network, tmp_path / "out", "torch")
    assert not any(tmp_path.iterdir())


def test_the_largest_difference_over_all_images():
    config = exported_config(saved(), "torch", True)
    images = torch.zeros(6, 3, *SIZE, dtype=torch.uint8)
    images[5] = 255

    def total(inputs):
        return inputs.double().mean((1, 2, 3))[:, None]

    class Same(nn.Module):
        def forward(self, inputs):
            return total(inputs)

    def off(inputs):
        return total(inputs) + (total(inputs) == 255)  # 1 more for the last image only

    assert difference(off, Same(), config, images) == 1
    assert difference(off, Same(), config, images[:5]) == 0
    assert [len(batch) for batch in probes(SIZE, images)] == [1, 3, 4, 2]


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(formats, "find_spec", lambda name: None if name.startswith("onnx") else object())
    with pytest.raises(UserError) as error:
        check_packages("onnx")
    what = "--to onnx needs onnx and onnxscript and onnxruntime, which are not installed"
    assert str(error.value) == f"{what} ({install_hint('export')})"
    check_packages("openvino")
    check_packages("torch")
    with pytest.raises(UserError, match="unknown format 'onx'"):
        check_packages("onx")


def test_a_network_that_is_not_a_trunk_is_refused(tmp_path):
    with pytest.raises(UserError, match="the model is not a resmlp network"):
        export_saved(Saved(nn.Identity(), (), PREPROCESSING), tmp_path / "out", "torch")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"files": ["../model.onnx"]}, "not plain file names"),
        ({"files": []}, "not plain file names"),
        ({"files": [".."]}, "not plain file names"),
        ({"to": "pickle"}, "to is 'pickle'"),
        ({"classes": ["a"]}, "1 class name for 3 classes"),
        ({"words": ["a"]}, "class names for 3 classes"),
        ({"format": 2}, "written by a newer resmlp"),
        ({"model": None}, "model is None"),
    ],
)
def test_an_invalid_model_json_is_refused(change, words, tmp_path):
    config = to_dict(exported_config(saved(), "onnx", False))
    (tmp_path / "model.json").write_text(json.dumps(config | change))
    with pytest.raises(UserError, match=words):
        read_config(tmp_path / "model.json")
