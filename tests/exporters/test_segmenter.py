"""Exported segmenters, run without torch, against the network in torch."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import resmlp
from resmlp.cli.main import main
from resmlp.config.model_json import SegmenterConfig, SegmenterModelConfig, TrunkConfig
from resmlp.config.preprocessing import Preprocessing
from resmlp.config.vision import architecture
from resmlp.exporters import segmenter
from resmlp.exporters.export import ExportResult
from resmlp.exporters.formats import FORMATS
from resmlp.exporters.precision import available
from resmlp.models import Segmenter
from resmlp.models.segmenter_files import save_segmenter
from resmlp.utils.errors import UserError

CLASSES = ("ant", "bee", "cat", "dog")
LOOK = Preprocessing((24, 32), 1.0, "bilinear", (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
WITHOUT_TORCH = (
    "import sys; from resmlp.cli.main import main; code = main(sys.argv[1:]); "
    "print('loaded', *{'torch', 'torchvision', 'timm'} & set(sys.modules), file=sys.stderr); sys.exit(code)"
)


def require(to: str) -> None:
    for package in ("segmentation_models_pytorch", *FORMATS[to].packages):
        pytest.importorskip(package)


def save(folder: Path, look: Preprocessing = LOOK, **options) -> Path:
    """A segmenter whose labels change from pixel to pixel."""
    torch.manual_seed(0)
    small = {"dim": 16, "depth": 4, "patch_size": 4, "in_chans": len(look.mean)}
    trunk = TrunkConfig("resmlp_s12", architecture("resmlp_s12", **small), (24, 32), 0)
    config = SegmenterConfig((24, 32), 4, trunk, width=16, auxiliary=0)
    model = Segmenter(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
        model.train()
        for _ in range(3):  # running statistics of BatchNorm
            model(torch.randn(4, len(look.mean), 24, 32))
    save_segmenter(folder, model.eval(), SegmenterModelConfig(config, look, CLASSES, **options))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Windows of 24 x 32. Not to be written to."""
    return save(tmp_path_factory.mktemp("segmenter") / "run", base_size=(50,))


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory) -> Callable[[str, bool], ExportResult]:
    """`exported(format, with preprocessing)`: what export returns. Its folder is not to be written to."""

    @cache
    def export(to: str, pixels: bool) -> ExportResult:
        require(to)
        place = tmp_path_factory.mktemp("segmenter") / "export"
        return resmlp.export(run, to=to, out=place, with_preprocessing=pixels)

    return export


@pytest.fixture(scope="module")
def folder(exported) -> Path:
    """Its export to ONNX. Not to be written to."""
    return exported("onnx", False).out


def same_pixels(ours: np.ndarray, theirs: np.ndarray) -> float:
    assert ours.shape == theirs.shape
    assert len(np.unique(theirs)) > 2, "the network says the same of everything"
    return float((ours == theirs).mean())


@pytest.mark.slow
@pytest.mark.parametrize(("to", "pixels"), [("onnx", False), ("onnx", True), ("openvino", False)])
def test_windows_give_the_labels_of_torch(run, exported, photo, to, pixels):
    result = exported(to, pixels)
    assert result.output == "logits"
    assert result.difference < 1e-4
    ours, theirs = resmlp.load(result.out), resmlp.load(run, "cpu")
    for image in (photo, photo.resize((20, 17)), photo.resize((200, 40))):
        assert same_pixels(ours.predict(image).labels, theirs.predict(image).labels) >= 0.999
    assert ours.predict(photo).classes == CLASSES


@pytest.mark.slow
@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_a_whole_image_gives_the_labels_of_torch(photo, to, tmp_path):
    require(to)
    whole = save(tmp_path / "run", whole=True)
    resmlp.export(whole, to=to, out=tmp_path / "out", img_size=(48, 64))
    ours, theirs = resmlp.load(tmp_path / "out"), resmlp.load(whole, "cpu")
    for image in (photo, photo.resize((64, 48))):  # 61 x 47 is filled up to whole patches
        assert same_pixels(ours.predict(image).labels, theirs.predict(image).labels) >= 0.999
    with pytest.raises(UserError, match=r"is for whole images of 48x64, and one is of 30x40 \(export it with"):
        ours.predict(photo.resize((40, 30)))
    with pytest.raises(UserError, match="not divide into patches"):
        resmlp.export(whole, to=to, out=tmp_path / "other", img_size=(47, 61))


@torch.no_grad()
def test_the_graph_takes_any_number_of_images(folder, run):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    model = resmlp.load(run, "cpu").model
    for count in (1, 2, 5):
        images = torch.randn(count, 3, 24, 32)
        (logits,) = session.run(["logits"], {"images": images.numpy()})
        np.testing.assert_allclose(logits, model(images).numpy(), rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("pixels", [False, True])
def test_a_segmenter_of_gray_images_takes_one_channel(photo, pixels, tmp_path, capsys):
    require("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    gray = save(tmp_path / "run", replace(LOOK, mean=(0.4,), std=(0.25,)))
    flags = ("--to", "onnx", "--out", str(tmp_path / "out"), *["--with-preprocessing"] * pixels)
    assert main(["export", str(gray), *flags, "--json"]) == 0, capsys.readouterr().err
    assert json.loads(capsys.readouterr().out)["difference"] < 1e-4
    (images,) = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx").get_inputs()
    assert images.shape[1:] == [1, 24, 32]
    ours, theirs = resmlp.load(tmp_path / "out"), resmlp.load(gray, "cpu")
    for image in (photo, photo.convert("L"), photo.resize((200, 40))):
        assert same_pixels(ours.predict(image).labels, theirs.predict(image).labels) >= 0.999


@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_bf16_where_this_machine_has_it(run, photo, to, tmp_path, capsys):
    require(to)
    code = main(["export", str(run), "--to", to, "--precision", "bf16", "--out", str(tmp_path / "x"), "--json"])
    printed = capsys.readouterr()
    if "bf16" in available(to):
        assert code == 0, printed.err
        assert json.loads(printed.out)["precision"] == "bf16"
        ours, theirs = resmlp.load(tmp_path / "x"), resmlp.load(run, "cpu")
        assert same_pixels(ours.predict(photo).labels, theirs.predict(photo).labels) >= 0.9
    else:
        error = f"error: --precision bf16: an export to {to} on this cpu has fp32 (leave it out)"
        assert (code, printed.err.splitlines()[-1]) == (2, error)
        assert not any(tmp_path.iterdir())


def test_predicting_loads_no_torch_and_writes_the_files_of_the_run(folder, run, photo, tmp_path, capsys):
    photo.save(tmp_path / "a.png")
    command = ["predict", str(folder), str(tmp_path / "a.png"), "--out", str(tmp_path / "ours")]
    ended = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *command], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.splitlines() == ["loaded"]
    theirs = tmp_path / "theirs"
    assert main(["predict", str(run), str(tmp_path / "a.png"), "--out", str(theirs), "--device", "cpu"]) == 0
    assert capsys.readouterr().out.replace("theirs", "ours") == ended.stdout
    for name in ("a-overlay.png", "a-labels.png"):
        with Image.open(tmp_path / "ours" / name) as ours, Image.open(theirs / name) as expected:
            assert same_pixels(np.asarray(ours), np.asarray(expected)) >= 0.999
    assert {path.name for path in (tmp_path / "ours").iterdir()} == {"a-overlay.png", "a-labels.png"}


def test_eval_of_an_export_is_that_of_the_run(folder, run, photo, tmp_path, capsys, draft_figures):
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    for i in range(3):
        photo.rotate(90 * i).save(tmp_path / "images" / f"{i}.png")
        labels = resmlp.load(run, "cpu").predict(photo.rotate(90 * i)).labels
        Image.fromarray((labels * (np.arange(61) > 20)).astype(np.uint8)).save(tmp_path / "labels" / f"{i}.png")
    (tmp_path / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    found = []
    for model in (folder, run):
        flags = ("--data.root", str(tmp_path), "--data.workers", "0", "--out", str(tmp_path / "f"), "--device", "cpu")
        assert main(["eval", str(model), *flags, "--json"]) == 0, capsys.readouterr().err
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["miou"] == pytest.approx(found[1]["miou"], abs=2e-3)
    assert found[0]["images"] == 3
    assert 0.2 < found[0]["pixel_accuracy"] < 1


def test_a_network_that_differs_is_refused(run, tmp_path, monkeypatch):
    require("onnx")
    monkeypatch.setattr(segmenter, "graph_of", lambda model, config: torch.nn.Sequential(model, torch.nn.Softplus()))
    with pytest.raises(UserError, match="the exported logits differ by .*: nothing is written"):
        resmlp.export(run, to="onnx", out=tmp_path / "x")
    assert not any(tmp_path.iterdir())


def test_an_export_of_another_kind_stays(folder, translator_run, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    with pytest.raises(UserError, match="holds an export of another kind of network"):
        resmlp.export(translator_run, to="onnx", out=copy)
    with pytest.raises(UserError, match="holds an export to onnx"):
        resmlp.export(translator_run, to="openvino", out=copy)
    assert (copy / "model.json").read_bytes() == (folder / "model.json").read_bytes()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--img-size", "25x32"), "do not divide into patches"),
        (("--to", "executorch"), "--to executorch is for classifiers"),
        (("--precision", "int8"), "--precision int8"),
        (("--images", "nowhere.png"), "no image at nowhere.png"),
    ],
)
def test_mistakes(run, flags, words, tmp_path, capsys):
    require("onnx")
    assert main(["export", str(run), "--out", str(tmp_path / "x"), *flags]) == 2
    assert words in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"files": ["../model.onnx"]}, "not plain file names"),
        ({"to": "torch"}, "may hold any program"),
        ({"to": "executorch"}, "cannot run|unknown format|export it again|executorch"),
        ({"patch": 0}, "patch"),
        ({"segmenter": None}, "segmenter"),
        ({"pixels": True}, "cannot run"),
    ],
)
def test_a_model_json_that_was_changed(folder, change, words, photo, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    config = json.loads((copy / "model.json").read_text())
    (copy / "model.json").write_text(json.dumps(config | change))
    with pytest.raises(UserError, match=words):
        resmlp.load(copy).predict(photo)


def test_the_config_of_an_export_is_that_of_the_run(folder, run):
    own = resmlp.load(run, "cpu").config
    assert resmlp.load(folder).config == own
