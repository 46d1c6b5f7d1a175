"""One command each to train, evaluate and predict from formats that people bring, at a tiny scale."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors.torch import load_file

from resmlp.analysis.profiling import device as machine


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def color(name: str, i: int) -> Image.Image:
    rng = np.random.default_rng(i)
    pixels = rng.integers(0, 60, (10, 12, 3), np.uint8)
    pixels[..., ("red", "green").index(name)] += 180
    return Image.fromarray(pixels)


def kaggle(root: Path) -> Path:
    """One folder around the splits, a table beside them, and what macOS adds."""
    with zipfile.ZipFile(root / "archive.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for part, count in (("Training", 12), ("Testing", 4)):
            for name in ("red", "green"):
                for i in range(count):
                    archive.writestr(f"set/{part}/{name}/{i}.jfif", encoded(color(name, i), "JPEG"))
        archive.writestr("set/labels.csv", "a,b\n")
        archive.writestr("__MACOSX/set/._labels.csv", "x")
    return root / "archive.zip"


def parquet(root: Path) -> Path:
    features = {"image": {"_type": "Image"}, "label": {"names": ["red", "green"], "_type": "ClassLabel"}}
    for part, count in (("train", 12), ("test", 4)):
        rows = [(name, i) for i in range(count) for name in ("red", "green")]
        images = [{"bytes": encoded(color(name, i)), "path": None} for name, i in rows]
        kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
        columns = {"image": pa.array(images, kind), "label": [int(name == "green") for name, _ in rows]}
        table = pa.table(columns).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        (root / "hub" / "data").mkdir(parents=True, exist_ok=True)
        pq.write_table(table, root / "hub" / "data" / f"{part}-00000-of-00001.parquet", row_group_size=5)
    return root / "hub"


def microscope(root: Path) -> Path:
    """16-bit gray TIFF files with values of 12 bits: bright and dark ones."""
    for part, count in (("train", 12), ("val", 4)):
        for name, level in (("bright", 3000), ("dark", 300)):
            for i in range(count):
                file = root / "tiff" / part / name / f"{i}.tif"
                file.parent.mkdir(parents=True, exist_ok=True)
                values = level + np.random.default_rng(i).integers(0, 200, (10, 12))
                Image.fromarray(values.astype(np.uint16)).save(file)
    return root / "tiff"


SETS = {"kaggle": kaggle, "parquet": parquet, "microscope": microscope}


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_train_and_eval(train, resmlp, tmp_path, monkeypatch, name):
    root = SETS[name](tmp_path)
    flags = ("--data.value-range", "0", "4095") if name == "microscope" else ()
    ended = train("--data.root", root, "--run.epochs", "8", "--data.workers", "1", *flags)
    assert ended.code == 0, ended.err
    ended = resmlp("eval", tmp_path / "run", "--json", "--device", "cpu")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert found["images"] == 8
    assert found["top1"] == 1.0


@pytest.mark.slow
def test_16_bit_images_for_a_network_of_one_channel(train, resmlp, tmp_path, monkeypatch):
    """Train, then every command that takes the network, each once."""
    monkeypatch.setitem(machine.SIDE, "cpu", 64)  # of the product by which profile knows the CPU's peak
    root, run = microscope(tmp_path), tmp_path / "run"
    flags = ("--data.value-range", "0", "4095", "--model.in-chans", "1", "--augment.policy", "rand")
    ended = train("--data.root", root, "--run.epochs", "8", *flags)
    assert ended.code == 0, ended.err
    card = json.loads((run / "model.json").read_text())
    assert card["model"]["architecture"]["in_chans"] == 1
    assert len(card["preprocessing"]["mean"]) == len(card["preprocessing"]["std"]) == 1
    assert load_file(run / "model.safetensors")["embed.patches.proj.weight"].shape[1] == 1

    def ok(*arguments):
        ended = resmlp(*arguments, "--json")
        assert ended.code == 0, ended.err
        return json.loads(ended.out)

    assert ok("eval", run, "--device", "cpu")["top1"] == 1.0
    image = root / "val" / "dark" / "0.tif"
    expected = ok("predict", run, image)["predictions"][0]
    assert expected["label"] == "dark"
    assert ok("embed", run, root, "--out", tmp_path / "x.npy")["images"] == 32
    assert ok("inspect", run, "--out", tmp_path / "inspect", "--images", image)
    flags = ("--device", "cpu", "--batch", "1", "--seconds", "0.02")
    assert ok("profile", run, *flags, "--backend", "torch", "onnx")["rows"][0]["memory"] > 0
    assert ok("compress", run, "--to", "int8", "--out", tmp_path / "int8", "--data.root", root)
    assert ok("predict", tmp_path / "int8", image)["predictions"][0]["label"] == "dark"
    for i, more in enumerate(((), ("--with-preprocessing",))):
        ok("export", run, "--to", "onnx", "--out", tmp_path / f"onnx{i}", *more)
        found = ok("predict", tmp_path / f"onnx{i}", image)["predictions"][0]
        assert found["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-4)
        assert ok("eval", tmp_path / f"onnx{i}", "--data.root", root, "--device", "cpu")["top1"] == 1.0
    ended = train(
        "--data.root", root, "--model.checkpoint", run, "--data.value-range", "0", "4095", "--out", tmp_path / "b"
    )
    assert "the model wants" in ended.error
