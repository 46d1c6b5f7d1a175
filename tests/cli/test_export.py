"""`resmlp export` from the command line."""

import json

import pytest
import torch
from numeric import assert_rounded, on_pixels
from torch import nn

import resmlp as library
from resmlp.exporters import export, formats
from resmlp.imaging.image_file import File


def test_a_run_folder(resmlp, trained, tree, tmp_path):
    image = next(tree.rglob("*.png"))
    ended = resmlp("export", trained, "--to", "torch", "--with-preprocessing", "--json", "--images", image)
    assert ended.code == 0, ended.err
    result = json.loads(ended.out)
    out = trained / "export"
    assert result.pop("difference") <= 1e-4
    precision = {"precision": "fp32", "agreement": ""}
    assert result == {"out": str(out), "to": "torch", "files": ["model.pt2"], "output": "probabilities"} | precision
    assert {path.name for path in out.iterdir()} == {"model.pt2", "model.json"}
    predictor = library.load(trained)
    run = formats.FORMATS["torch"].open(out)
    pixels = torch.from_numpy(predictor.keep(File(str(image)).read()))[None]
    reference = on_pixels(predictor.model, predictor.preprocessing, nn.Softmax(1))
    assert_rounded(run(pixels), reference, pixels.float())
    ended = resmlp("predict", out, image)
    assert ended.code == 2
    assert "may hold any program" in ended.error


def test_the_python_function_gives_what_the_command_prints(resmlp, trained, tmp_path, capsys):
    flags = ("--to", "torch", "--out", tmp_path / "out")
    printed = json.loads(resmlp("export", trained, *flags, "--json").out)
    text = resmlp("export", trained, *flags).out
    result = library.export(trained, "torch", tmp_path / "out")
    assert result.to_dict() == printed
    assert f"{result}\n" == text
    assert capsys.readouterr().out == ""


def test_an_architecture_name_has_random_weights(resmlp, tmp_path, monkeypatch):
    """A large difference is refused, and nothing is written."""
    monkeypatch.setattr(export, "difference", lambda *_: 0.5)
    ended = resmlp("export", "resmlp_s12", "--to", "torch")
    assert "its weights are random" in ended.err
    assert ended.code == 2
    assert "differ by 5.0e-01, more than 0.0001" in ended.err
    assert not any(tmp_path.iterdir())
    ended = resmlp("export", "resmlp_s12", "--to", "torch", "--tolerance", 1)
    assert ended.code == 0, ended.err
    assert ended.out == "export/resmlp_s12: model.pt2, model.json; logits within 5.0e-01 of torch's\n"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("resmlp_s12", "--out", "file"), "--out file is a file"),
        (("resmlp_s12", "--out", "file/below"), "cannot write file/below"),
        (("resmlp_s12", "--tolerance", 0), "--tolerance 0"),
        (("resmlp_s12", "--images", "nowhere.png"), "no image at nowhere.png"),
        (("resmlp_s12", "--images", "file"), "cannot read file"),
        (("resmlp_digitz",), "did you mean resmlp_digits"),
        (("nowhere/at/all",), "no model at nowhere/at/all"),
        (("resmlp_mt_tiny",), "is the name of a translation model"),
    ],
)
def test_mistakes(args, words, resmlp, tmp_path):
    (tmp_path / "file").write_text("no image")
    ended = resmlp("export", "--to", "torch", *args)
    assert ended.code == 2
    assert words in ended.error
    assert {path.name for path in tmp_path.iterdir()} == {"file"}


def test_a_run_folder_is_not_overwritten(resmlp, trained):
    before = (trained / "model.json").read_bytes()
    ended = resmlp("export", "resmlp_s12", "--to", "torch", "--out", trained)
    assert ended.code == 2
    assert "model.json, which export did not write" in ended.error
    assert (trained / "model.json").read_bytes() == before


def test_a_network_of_timm_is_refused(resmlp):
    assert "is not a resmlp network" in resmlp("export", "timm:resnet10t", "--to", "torch").error


def test_a_missing_package(resmlp, monkeypatch):
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    error = resmlp("export", "resmlp_s12", "--to", "openvino").error
    hint = "run pip install '.[export]' in a clone of resmlp"
    assert error == f"error: --to openvino needs openvino, which is not installed ({hint})"


def test_an_exported_run_gives_the_predictions_and_accuracy_of_the_run(resmlp, trained, tree, tmp_path):
    for package in formats.FORMATS["onnx"].packages:
        pytest.importorskip(package)
    assert resmlp("export", trained, "--out", tmp_path / "x", "--with-preprocessing").code == 0
    exported, original = (
        json.loads(
            resmlp("eval", model, "--data.root", tree, "--data.workers", 0, "--out", tmp_path / "f", "--json").out
        )
        for model in (tmp_path / "x", trained)
    )
    assert exported["top1"] == original["top1"]
    assert exported["per_class"] == original["per_class"]
    image = sorted(tree.rglob("*.png"))[0]
    exported, original = (
        json.loads(resmlp("predict", model, image, "--json").out)["predictions"][0]
        for model in (tmp_path / "x", trained)
    )
    assert exported["label"] == original["label"]
    assert exported["probabilities"] == pytest.approx(original["probabilities"], abs=1e-4)
    weights = ("--weights", "raw", "--data.root", tree)
    assert "is an exported network" in resmlp("profile", tmp_path / "x").error
    assert "x has no checkpoints" in resmlp("eval", tmp_path / "x", *weights).error
    (tmp_path / "x" / "model.onnx").write_bytes(b"broken")
    assert "cannot run" in resmlp("predict", tmp_path / "x", image).error
    (tmp_path / "x" / "model.onnx").unlink()
    assert "no model.onnx in" in resmlp("predict", tmp_path / "x", image).error
