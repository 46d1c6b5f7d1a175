"""`resmlp inspect` from the command line."""

import json
from pathlib import Path

import pytest
from PIL import Image

from resmlp.analysis.layers.inspection import inspect
from resmlp.config.model_json import SegmenterConfig, SegmenterModelConfig, TrunkConfig
from resmlp.config.preprocessing import Preprocessing
from resmlp.models import Segmenter, create_model
from resmlp.models.segmenter_files import save_segmenter


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory) -> Path:
    """The files of a segmenter with random weights, on a grid that is not square."""
    folder = tmp_path_factory.mktemp("inspect") / "segmenter"
    trunk = create_model("resmlp_digits", img_size=(8, 12), num_classes=0, mixer="dwconv").config
    config = SegmenterConfig((8, 12), 2, TrunkConfig(trunk.name, trunk.architecture, (8, 12), 0), None, 8, 0)
    card = SegmenterModelConfig(config, Preprocessing((8, 12)), ("a", "b"))
    save_segmenter(folder, Segmenter(config), card)
    return folder


@pytest.mark.usefixtures("whole_figures")
def test_a_run_folder(resmlp, trained, tmp_path):
    ended = resmlp("inspect", trained, "--out", "seen", "--json", "--device", "cpu", "--threshold", "0.2")
    assert ended.code == 0, ended.err
    result = json.loads(ended.out)
    assert result.pop("out") == "seen"
    assert result == json.loads((tmp_path / "seen" / "inspect.json").read_text())
    assert result["source"] == "/".join(Path(trained).absolute().parts[-2:])
    assert (result["trained"], result["threshold"], result["drawn"]) == (True, 0.2, [0])
    assert "filters.png" in result["figures"]
    (layer,) = result["layers"]
    assert layer["tokens"] == [4, 4]
    assert set(layer["sparsity"]) == {"A", "MLP 1", "MLP 2"}
    assert 0 < layer["radius"] < 4
    assert "below 20 % of the largest" in (tmp_path / "seen" / "sparsity.svg").read_text()


def test_json_equals_the_python_result(resmlp, trained, tmp_path):
    printed = json.loads(resmlp("inspect", trained, "--out", "seen", "--layers", 0, "--json").out)
    result = inspect(str(trained), "seen", layers=[0])
    assert printed == result.to_dict()
    assert resmlp("inspect", trained, "--out", "seen", "--layers", 0).out == f"{result}\n"


def test_images_replace_noise(resmlp, trained, tree):
    image = next(tree.rglob("*.png"))
    radii = [
        json.loads(resmlp("inspect", trained, "--out", f"seen{i}", "--json", *images).out)["layers"][0]["radius"]
        for i, images in enumerate(((), ("--images", image), ("--images", image)))
    ]
    assert radii[0] != radii[1] == radii[2]


def test_the_trunk_of_a_segmenter(resmlp, segmenter):
    ended = resmlp("inspect", segmenter, "--layers", 1, 3)
    assert ended.code == 0, ended.err
    result = json.loads((segmenter / "inspect" / "inspect.json").read_text())
    assert (result["mixer"], result["drawn"]) == ("dwconv", [1, 3])
    assert ended.out.count("below 5 %: kernels ") == 4
    assert ended.out.endswith(f"written: {segmenter}/inspect/report.html\n")


def test_the_layers_of_a_translator(resmlp, translator_run, tmp_path):
    ended = resmlp("inspect", translator_run, "--out", "seen", "--json")
    assert ended.code == 0, ended.err
    layers = json.loads(ended.out)["layers"]
    assert [layer["name"] for layer in layers] == ["encoder layer 0", "decoder layer 0"]
    assert set(layers[1]["scales"]) == {"tokens", "source", "channels"}
    assert "radius" not in layers[0]
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    refused = resmlp("inspect", translator_run, "--images", "x.png")
    assert refused.code == 2
    assert "resmlp_mt_tiny takes no images" in refused.error


def test_the_name_of_a_network_has_random_weights_and_its_own_folder(resmlp, tmp_path):
    ended = resmlp("inspect", "mixer_s32", "--layers", 0)
    assert ended.code == 0
    assert "its weights are random" in ended.err
    assert "These weights are random" in (tmp_path / "inspect" / "mixer_s32" / "report.html").read_text()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("mixer_s32", "--layers", 8), "--layers 8: no such layer in mixer_s32 (0 to 7)"),
        (("mixer_s32", "--layers", -1), "--layers -1"),
        (("mixer_s32", "--threshold", 0), "--threshold 0"),
        (("mixer_s32", "--out", "file"), "--out file is a file"),
        (("mixer_s32", "--out", "file/below"), "cannot write --out file/below"),
        (("mixer_s32", "--images", "nowhere.png"), "no image at nowhere.png"),
        (("mixer_s32", "--images", "file"), "cannot read file"),
        (("resmlp_digitz",), "did you mean resmlp_digits"),
        (("resmlp_mt_tiny",), "is the name of a translation model"),
        (("nowhere/at/all",), "no model at nowhere/at/all"),
        (("timm:resmlp_12_224",), "give resmlp_12_224, without timm:"),
    ],
)
def test_mistakes(args, words, resmlp, tmp_path):
    (tmp_path / "file").write_text("no image")
    ended = resmlp("inspect", *args)
    assert ended.code == 2
    assert words in ended.error
    assert not (tmp_path / "inspect" / "mixer_s32" / "report.html").exists()
