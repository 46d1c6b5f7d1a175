"""Exported folders, opened without torch, against the network in torch."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from numeric import assert_rounded, on_pixels
from PIL import Image
from torch import nn

import resmlp
from resmlp.backends.autotune import schedules
from resmlp.config.preprocessing import Preprocessing
from resmlp.data import eval_transform
from resmlp.exporters.export import export_saved
from resmlp.exporters.formats import FORMATS
from resmlp.inference import ExportedPredictor, load
from resmlp.inference.exported import normalized
from resmlp.models import Saved, save_model
from resmlp.utils.errors import UserError

LOOK = Preprocessing((16, 16), 0.9, "bicubic", (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
CLASSES = ("ant", "bee", "cat")


@pytest.fixture(scope="module")
def saved() -> Saved:
    torch.manual_seed(0)
    model = resmlp.create_model("resmlp_digits", img_size=16, num_classes=3, init="fan-in", depth=2).eval()
    return Saved(model, CLASSES, LOOK)


@pytest.fixture(scope="module", params=["onnx", "openvino", "onnx pixels"])
def folder(request, saved, tmp_path_factory):
    to, _, pixels = request.param.partition(" ")
    for package in FORMATS[to].packages:
        pytest.importorskip(package)
    place = tmp_path_factory.mktemp("export")
    export_saved(saved, place, to, with_preprocessing=bool(pixels))
    return place


@pytest.fixture
def images() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (h, w, 3), dtype=np.uint8)) for w, h in [(16, 16), (40, 23), (7, 9)]]


def pixels_of(images, crop=LOOK.crop_ratio) -> torch.Tensor:
    """The inputs of the network before normalization, from 0 to 255."""
    return torch.stack([eval_transform(replace(LOOK, crop_ratio=crop))(image) for image in images]).float()


def test_gives_what_the_network_gives(folder, saved, images, tmp_path):
    save_model(tmp_path, saved.model, CLASSES, LOOK)
    graph, torches = load(folder), load(tmp_path, "cpu")
    assert isinstance(graph, ExportedPredictor)
    assert graph.logits(images).dtype == np.float32
    outputs = torch.from_numpy(graph.logits(images)).log_softmax(1)
    assert_rounded(outputs, on_pixels(saved.model, LOOK, nn.LogSoftmax(1)), pixels_of(images))
    assert [one.labels for one in graph.rank(images)] == [one.labels for one in torches.rank(images)]
    for crop in (LOOK.crop_ratio, 0.5):
        outputs = torch.from_numpy(graph.with_crop(crop).probabilities(images))
        assert_rounded(outputs, on_pixels(saved.model, LOOK, nn.Softmax(1)), pixels_of(images, crop))


def test_every_way_gives_the_same(folder, saved):
    graph = ExportedPredictor(folder, cores=2)
    pixels = np.random.default_rng(0).integers(0, 256, (9, 3, 16, 16), dtype=np.uint8)
    inputs = pixels if graph.config.pixels else normalized(pixels, LOOK)
    reference = on_pixels(saved.model, LOOK, nn.Softmax(1) if graph.config.pixels else None)
    results = [way.run(inputs) for engine in graph.run.engines for way in schedules(engine, 9)]
    assert len(results) > 4
    graph.run.tune(inputs)
    for outputs in (*results, graph.outputs(pixels)):
        assert_rounded(torch.from_numpy(outputs), reference, torch.from_numpy(pixels).float())


def test_threads_that_ask_at_once_get_their_own_answers(folder):
    graph = ExportedPredictor(folder, cores=2)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3, 16, 16), dtype=np.uint8)
    batches = list(
        pixels if graph.config.pixels else normalized(pixels.reshape(24, 3, 16, 16), LOOK).reshape(pixels.shape)
    )
    for way in [way for engine in graph.run.engines for way in schedules(engine, 6)]:
        wanted = [way.run(batch) for batch in batches]
        with ThreadPoolExecutor(4) as pool:
            for number, one in enumerate(pool.map(way.run, batches * 10)):
                np.testing.assert_allclose(one, wanted[number % 4], rtol=0, atol=1e-4)  # other batches differ by more


@pytest.mark.isa
def test_pixels_are_normalized_as_in_training():
    pixels = torch.arange(256, dtype=torch.uint8).repeat(3).view(1, 3, 16, 16)
    in_training = resmlp.inference.predictor.normalize(pixels, LOOK.mean, LOOK.std)
    for outputs in (in_training, torch.from_numpy(normalized(pixels.numpy(), LOOK))):
        assert_rounded(outputs, on_pixels(nn.Identity(), LOOK), pixels.float())


def test_predicting_loads_no_torch(folder, images, tmp_path):
    images[1].save(tmp_path / "a.png")
    program = (
        "import sys; from resmlp.cli.main import main; code = main(sys.argv[1:]); "
        "print([name for name in ('torch', 'torchvision', 'timm', 'accelerate', 'sklearn') if name in sys.modules]); "
        "sys.exit(code)"
    )
    command = [sys.executable, "-c", program, "predict", str(folder), str(tmp_path / "a.png")]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    line, loaded = ended.stdout.splitlines()
    label = load(folder).rank(images[1:2])[0].labels[0]
    assert line.startswith(f"{tmp_path / 'a.png'}: {label} ")
    assert loaded == "[]"


def changed(folder, place, **changes):
    """A copy whose card says other things."""
    for path in folder.iterdir():
        (place / path.name).write_bytes(path.read_bytes())
    card = json.loads((place / "model.json").read_text())
    for name, value in changes.items():
        where, _, field = name.rpartition("__")
        (card[where] if where else card)[field or name] = value
    (place / "model.json").write_text(json.dumps(card))
    return place


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"files": ["../model.onnx"]}, "not plain file names"),
        ({"files": []}, "not plain file names"),
        ({"files": ["nothing.bin"]}, "no nothing.bin in"),
        ({"to": "tvm"}, "to"),
        ({"to": "torch"}, "may hold any program"),
        ({"output": 3}, "output"),
        ({"classes": ["a"]}, "1 class name for 3 classes"),
        ({"model__num_classes": 2, "classes": []}, "and not 2 classes"),
        ({"preprocessing__size": [8, 8]}, "cannot run"),
        ({"format": 9}, "newer"),
    ],
)
def test_a_card_that_was_changed(folder, changes, says, tmp_path, images):
    with pytest.raises(UserError, match=says):
        load(changed(folder, tmp_path, **changes)).rank(images)


@pytest.mark.parametrize("content", [b"", b"no model", None])
def test_files_that_are_broken(folder, content, tmp_path, images):
    changed(folder, tmp_path)
    for path in tmp_path.iterdir():
        if path.name != "model.json":
            path.write_bytes(path.read_bytes()[:-1000] if content is None else content)
    with pytest.raises(UserError, match=r"cannot run .*export it again"):
        load(tmp_path).rank(images)


def test_a_run_folder_by_other_programs(saved, images, tmp_path):
    for package in (*FORMATS["onnx"].packages, *FORMATS["openvino"].packages):
        pytest.importorskip(package)
    save_model(tmp_path, saved.model, CLASSES, LOOK)
    pixels = pixels_of(images)
    for backend in ("folded", "onnx", "openvino", "auto"):
        predictor = load(tmp_path, "cpu", backend)
        for _ in range(3):
            assert_rounded(predictor.logits(images), on_pixels(saved.model, LOOK), pixels)
    with pytest.raises(UserError, match="unknown backend 'opnevino' .did you mean openvino"):
        load(tmp_path, "cpu", "opnevino")


def test_what_an_exported_folder_is_not_asked(folder):
    with pytest.raises(UserError, match="runs on the CPU"):
        load(folder, "cuda")
    with pytest.raises(UserError, match="fixes its backend"):
        load(folder, "cpu", "onnx")
