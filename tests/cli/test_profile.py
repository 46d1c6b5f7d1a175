"""`resmlp profile` as a person types it."""

import json

import pytest
import torch

from resmlp.analysis.profiling import device as machine
from resmlp.analysis.profiling.subjects import open_subject
from resmlp.cli.profile import exported
from resmlp.config.preprocessing import Preprocessing
from resmlp.exporters.formats import FORMATS
from resmlp.models import create_model, save_model


@pytest.fixture(autouse=True)
def _small_product(monkeypatch):
    monkeypatch.setitem(machine.SIDE, "cpu", 64)


def saved(folder, side):
    network = create_model("resmlp_digits", img_size=side, num_classes=10)
    save_model(folder, network, (), Preprocessing((side, side)))
    return str(folder)


def test_two_networks_side_by_side(resmlp, tmp_path):
    ours, theirs = saved(tmp_path / "ours", 8), saved(tmp_path / "theirs", 16)
    flags = ("--batch", 2, "--seconds", 0.02, "--device", "cpu", "--out", tmp_path / "deep" / "profile", "--json")
    ended = resmlp("profile", ours, "--against", theirs, *flags)
    assert ended.code == 0, ended.err
    result = json.loads(ended.out)
    first, second = result["rows"]
    assert (first["model"], second["model"], first["batch"]) == (ours, theirs, 2)
    assert 3 * first["macs"] < second["macs"], "an image of 8x8, and one of 16x16"
    assert first["times"][theirs] > 0
    assert second["times"][theirs] == 1.0
    assert json.loads((tmp_path / "deep" / "profile" / "profile.json").read_text()) == result
    assert {path.name for path in (tmp_path / "deep" / "profile").iterdir()} == {
        "profile.json",
        "tradeoff.png",
        "tradeoff.svg",
    }
    assert "images/s" in ended.err
    assert "J/image" not in ended.err, "a column without a number is left out"


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_what_export_writes_is_run(backend, resmlp, tmp_path):
    for package in FORMATS[backend].packages:
        pytest.importorskip(package)
    flags = ("--batch", 2, "--seconds", 0.02, "--device", "cpu", "--backend", "torch", backend, "--json")
    ended = resmlp("profile", saved(tmp_path / "ours", 8), *flags)
    assert ended.code == 0, ended.err
    rows = json.loads(ended.out)["rows"]
    assert [row["backend"] for row in rows] == ["torch", backend]
    assert rows[0]["macs"] == rows[1]["macs"]
    assert rows[1]["images_per_s"] > 0
    assert rows[1]["memory"] is None


def test_the_exported_network_that_runs_is_the_one_that_was_asked_for(tmp_path):
    for package in FORMATS["onnx"].packages:
        pytest.importorskip(package)
    subject = open_subject(saved(tmp_path / "ours", 8))
    images = torch.randn(3, 3, 8, 8)
    with torch.no_grad():
        wanted = subject.model(images)
    torch.testing.assert_close(torch.from_numpy(exported("onnx", subject, "fp32")(images)), wanted)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "no models given"),
        (("resmlp_s21",), "unknown model 'resmlp_s21' (did you mean resmlp_"),
        (("timm:resnte50",), "timm has no model 'resnte50' (did you mean"),
        (("runs/none",), "no model at runs/none"),
        (("resmlp_mt_tiny",), "sees no images, it translates"),
        (("resmlp_digits", "--batch", "0"), "--batch 0 (1 or more"),
        (("resmlp_digits", "--batch", "4", "-1"), "--batch 4 -1 (1 or more"),
        (("resmlp_digits", "--seconds", "0"), "--seconds 0"),
        (("resmlp_digits", "--seconds", "inf"), "--seconds inf"),
        (("resmlp_digits", "--backend", "onnx", "--precision", "bf16"), "--backend onnx has no bf16 (openvino has)"),
        (("resmlp_digits", "--device", "cuda"), "device cuda: there is none here"),
        (("resmlp_digits", "--precision", "fp8"), "fp8"),
    ],
)
def test_mistakes_are_one_line(resmlp, monkeypatch, words, says):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    ended = resmlp("profile", *words)
    assert ended.code == 2
    assert says in ended.error


def test_out_is_looked_at_before_anything_runs(resmlp, tmp_path):
    (tmp_path / "file").write_text("mine")
    ended = resmlp("profile", "resmlp_digits", "--out", tmp_path / "file")
    assert ended.code == 2
    assert "is a file" in ended.error
    assert (tmp_path / "file").read_text() == "mine"
