"""`resmlp profile` on the command line."""

import json

import pytest
import torch
from numeric import assert_rounded

from resmlp.analysis.profiling import device as machine
from resmlp.analysis.profiling import profile as profiling
from resmlp.analysis.profiling.backends import run_exported
from resmlp.analysis.profiling.subjects import open_subject
from resmlp.config.preprocessing import Preprocessing
from resmlp.exporters.formats import FORMATS
from resmlp.models import create_model, save_model


@pytest.fixture
def no_rss(monkeypatch):
    """Skips the measurement of memory, which takes seconds: each is a new process."""
    monkeypatch.setattr(profiling, "measure_rss", lambda *args: {})


@pytest.fixture(autouse=True)
def _small_product(monkeypatch):
    monkeypatch.setitem(machine.SIDE, "cpu", 64)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> dict[int, str]:
    """Side of the image -> the folder of a small network with random weights."""
    folders = {side: tmp_path_factory.mktemp(f"side{side}") for side in (8, 16)}
    for side, folder in folders.items():
        network = create_model("resmlp_digits", img_size=side, num_classes=10)
        save_model(folder, network, (), Preprocessing((side, side)))
    return {side: str(folder) for side, folder in folders.items()}


def test_two_networks_side_by_side(resmlp, saved, no_rss, tmp_path):
    small, large = saved[8], saved[16]
    flags = ("--batch", 2, "--seconds", 0.02, "--device", "cpu", "--out", tmp_path / "deep" / "profile", "--json")
    ended = resmlp("profile", small, "--against", large, *flags)
    assert ended.code == 0, ended.err
    result = json.loads(ended.out)
    first, second = result["rows"]
    assert (first["model"], second["model"], first["batch"]) == (small, large, 2)
    assert 3 * first["macs"] < second["macs"], "images of 8x8 and of 16x16"
    assert first["speedup"][large] > 0
    assert second["speedup"][large] == 1.0
    assert json.loads((tmp_path / "deep" / "profile" / "profile.json").read_text()) == result
    assert {path.name for path in (tmp_path / "deep" / "profile").iterdir()} == {
        "profile.json",
        "tradeoff.png",
        "tradeoff.svg",
    }
    assert "images/s" in ended.err
    assert "size" in ended.err
    assert "8x8" in ended.err
    assert "J/image" not in ended.err, "empty columns are left out"


def test_json_equals_the_python_result(resmlp, saved, no_rss, monkeypatch):
    results, measure = [], profiling.profile
    monkeypatch.setattr(
        profiling, "profile", lambda *args, **options: results.append(measure(*args, **options)) or results[-1]
    )
    flags = ("--batch", 2, 3, "--seconds", 0.02, "--device", "cpu")
    printed = json.loads(resmlp("profile", saved[8], "--against", saved[8], *flags, "--json").out)
    assert printed == results[0].to_dict()
    assert [row["batch"] for row in printed["rows"]] == [2, 3]
    shown = resmlp("profile", saved[8], *flags).err
    assert [line.rstrip() for line in shown.splitlines()] == str(results[1]).splitlines()


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_exported_networks(backend, resmlp, saved, no_rss):
    for package in FORMATS[backend].packages:
        pytest.importorskip(package)
    flags = ("--batch", 2, "--seconds", 0.02, "--device", "cpu", "--backend", "torch", backend, "--json")
    ended = resmlp("profile", saved[8], *flags)
    assert ended.code == 0, ended.err
    rows = json.loads(ended.out)["rows"]
    assert [row["backend"] for row in rows] == ["torch", backend]
    assert rows[0]["macs"] == rows[1]["macs"]
    assert rows[1]["images_per_s"] > 0
    assert rows[1]["memory"] is None


def test_the_exported_network_agrees_with_torch(saved):
    for package in FORMATS["onnx"].packages:
        pytest.importorskip(package)
    subject = open_subject(saved[8])
    images = torch.randn(3, 3, 8, 8)
    assert_rounded(torch.from_numpy(run_exported("onnx", subject, "fp32")(images)), subject.model, images)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "no models given"),
        (("resmlp_s21",), "unknown model 'resmlp_s21' (did you mean resmlp_"),
        (("timm:resnte50",), "timm has no model 'resnte50' (did you mean"),
        (("runs/none",), "no model at runs/none"),
        (("resmlp_mt_tiny",), "is the name of a translation model"),
        (("mixer_s32", "--batch", "0"), "--batch 0 (1 or more"),
        (("mixer_s32", "--batch", "4", "-1"), "--batch 4 -1 (1 or more"),
        (("mixer_s32", "--seconds", "0"), "--seconds 0"),
        (("mixer_s32", "--seconds", "inf"), "--seconds inf"),
        (
            ("mixer_s32", "--backend", "onnx", "--precision", "bf16"),
            "--precision bf16: --backend onnx on this cpu (",
        ),
        (("mixer_s32", "--device", "cuda"), "device cuda is not available on this machine"),
        (("mixer_s32", "--precision", "fp8"), "fp8"),
        (("mixer_s32", "--precision", "int8"), "--precision int8: profile measures fp32 and bf16"),
    ],
)
def test_mistakes_are_one_line(resmlp, monkeypatch, args, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    ended = resmlp("profile", *args)
    assert ended.code == 2
    assert message in ended.error


def test_out_is_checked_before_anything_runs(resmlp, tmp_path):
    (tmp_path / "file").write_text("kept")
    ended = resmlp("profile", "mixer_s32", "--out", tmp_path / "file")
    assert ended.code == 2
    assert "is a file" in ended.error
    assert (tmp_path / "file").read_text() == "kept"
