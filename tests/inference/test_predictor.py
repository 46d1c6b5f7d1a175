"""Predictors against preprocessing made by hand with timm's transform."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numeric import EXP, assert_rounded, gamma, on_pixels
from PIL import Image
from timm.data import create_transform

import resmlp
from resmlp.config.preprocessing import Preprocessing
from resmlp.inference import TorchPredictor, load
from resmlp.models import save_model
from resmlp.utils.devices import find_device
from resmlp.utils.errors import UserError

pytestmark = pytest.mark.isa

CLASSES = ("ant", "bee", "cat", "dog", "elk", "fly")
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path) -> Path:
    """A run folder's model: six classes, images of 16x16."""
    model = resmlp.create_model("resmlp_digits", img_size=16, num_classes=len(CLASSES), init="fan-in")
    save_model(tmp_path / "run", model, CLASSES, Preprocessing((16, 16), 0.9, "bicubic", MEAN, STD))
    return tmp_path / "run"


@pytest.fixture
def images() -> list[Image.Image]:
    sizes = [(16, 16), (40, 23), (23, 40), (100, 100), (7, 9)]  # width, height
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (h, w, 3), dtype=np.uint8)) for w, h in sizes]


def assert_equals_timm(logits: torch.Tensor, predictor: TorchPredictor, images, crop: float) -> None:
    options = {"is_training": False, "interpolation": "bicubic", "crop_pct": crop}
    transform = create_transform((3, 16, 16), **options, use_prefetcher=True)  # gives uint8, not normalized
    pixels = torch.stack([transform(image) for image in images]).float()
    preprocessing = Preprocessing((16, 16), crop, "bicubic", MEAN, STD)
    assert_rounded(logits, on_pixels(predictor.model, preprocessing), pixels)


def test_logits_are_those_of_the_model_on_what_timm_makes_of_the_images(folder, images):
    predictor = load(folder, "cpu")
    logits = predictor.logits(images)
    assert logits.dtype == torch.float32
    assert_equals_timm(logits, predictor, images, 0.9)


@pytest.mark.parametrize("ratio", [0.875, 1.0])
def test_with_crop_changes_the_crop_and_leaves_the_first_predictor_as_it_was(folder, images, ratio):
    predictor = load(folder, "cpu")
    before = predictor.logits(images)
    other = predictor.with_crop(ratio)
    assert_equals_timm(other.logits(images), predictor, images, ratio)
    assert other.preprocessing.crop_ratio == ratio
    assert other.preprocessing.mean == MEAN
    assert torch.equal(predictor.logits(images), before)
    assert not torch.allclose(other.logits(images), before)


def test_images_as_a_tensor_skip_the_resizing_alone(folder, images):
    predictor = load(folder, "cpu").with_crop(1.0)
    pixels = torch.from_numpy(np.stack([np.array(images[0])])).permute(0, 3, 1, 2)
    assert_equals_timm(predictor.logits(pixels), predictor, images[:1], 1.0)


def test_the_likeliest_classes_come_first_with_their_probabilities(folder, images):
    predictor = load(folder, "cpu")
    probabilities = predictor.logits(images).double().softmax(1).numpy()
    for row, found in zip(probabilities, predictor.rank(images, top=4), strict=True):
        order = np.argsort(-row)[:4]
        assert found.labels == tuple(CLASSES[i] for i in order)
        assert found.probabilities == pytest.approx(row[order], abs=gamma(6 + 2 * EXP))


def test_top_is_at_most_the_number_of_classes(folder, images):
    assert len(load(folder, "cpu").rank(images[:1], top=50)[0].labels) == len(CLASSES)


def test_without_names_classes_are_numbers(folder, images, tmp_path):
    model = resmlp.create_model("resmlp_digits", img_size=16, num_classes=6)
    save_model(tmp_path, model, (), Preprocessing((16, 16)))
    labels = load(tmp_path, "cpu").rank(images[:1], top=6)[0].labels
    assert sorted(labels) == list("012345")


def test_a_folder_its_file_and_the_python_entry_point_are_one_model(folder, images):
    logits = load(folder, "cpu").logits(images)
    for path in (str(folder), folder / "model.safetensors", str(folder / "model.safetensors")):
        assert torch.equal(resmlp.load(path, "cpu").logits(images), logits)


def test_files_are_predicted_as_the_images_in_them(folder, images, tmp_path):
    files = [tmp_path / f"{i}.png" for i in range(len(images))]
    for file, image in zip(files, images):
        image.save(file)
    predictor = load(folder, "cpu")
    assert predictor.predict(files) == predictor.rank(images)


def test_a_loaded_model_is_in_evaluation_mode_and_keeps_no_gradient(folder, images):
    predictor = load(folder, "cpu")
    assert not predictor.model.training
    assert not predictor.logits(images).requires_grad


def test_gray_and_transparent_images_are_taken(folder, images):
    predictor = load(folder, "cpu")
    gray = images[0].convert("L")
    assert torch.equal(predictor.logits([gray]), predictor.logits([gray.convert("RGB")]))
    assert predictor.logits([images[0].convert("RGBA")]).shape == (1, len(CLASSES))


@pytest.mark.parametrize("name", ["missing", "missing.safetensors", "some/where"])
def test_a_model_that_is_not_there_is_a_users_error(name):
    with pytest.raises(UserError, match=name):
        load(name)


def test_a_file_that_cannot_be_read_is_named(folder, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"bad\.jpg"):
        load(folder, "cpu").predict(tmp_path / "bad.jpg")


def test_devices():
    assert find_device("cpu") == CPU
    assert find_device("auto").type in ("cpu", "cuda", "mps")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="cuda"):
            find_device("cuda")


def test_predictors_can_be_made_of_a_model_at_hand(folder, images):
    saved = load(folder, "cpu").saved
    assert torch.equal(TorchPredictor(saved, CPU).logits(images), load(folder, "cpu").logits(images))
