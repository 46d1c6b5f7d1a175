"""Images at their own aspect ratios, and networks at another size, against the parts by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import resmlp
from resmlp.config.image_size import image_size, image_sizes, native_shapes, nearest_shape
from resmlp.config.preprocessing import Preprocessing
from resmlp.data import EvalBatches, ImageSet, normalize
from resmlp.imaging.image_file import File
from resmlp.models import open_model, save_model
from resmlp.models.at_size import at_size
from resmlp.utils.errors import UserError

CLASSES = ("ant", "bee", "cat")
SIZES = [(40, 40), (80, 41), (41, 80), (400, 20), (30, 40), (40, 40)]  # width, height


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A run folder's model with random weights, for images of 16x16. Not to be written to."""
    torch.manual_seed(0)
    model = resmlp.create_model("resmlp_digits", img_size=16, num_classes=3, depth=2)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    save_model(tmp_path_factory.mktemp("native") / "run", model, CLASSES, Preprocessing((16, 16), 0.9))
    return next(tmp_path_factory.getbasetemp().glob("native*/run"))


@pytest.fixture
def images() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (h, w, 3), dtype=np.uint8)) for w, h in SIZES]


@pytest.mark.parametrize(("grid", "patch"), [((14, 14), 16), ((8, 8), 2), ((28, 28), 8), ((1, 1), 4), ((10, 14), 16)])
def test_native_shapes_have_about_the_trained_number_of_tokens(grid, patch):
    shapes = native_shapes(grid, patch)
    tokens = grid[0] * grid[1]
    assert shapes[0] == (grid[0] * patch, grid[1] * patch)
    assert len(shapes) == len(set(shapes)) <= 16
    for height, width in shapes:
        assert height % patch == width % patch == 0
        shorter = min(height, width) // patch
        assert abs(height * width // patch**2 - tokens) <= shorter / 2, "no multiple of the shorter side is nearer"
    assert all((width, height) in shapes for height, width in shapes[1:])


def test_the_nearest_shape_has_the_nearest_aspect():
    shapes = native_shapes((14, 14), 16)
    assert nearest_shape((500, 500), shapes) == (224, 224)
    for height, width in ((480, 640), (640, 480), (300, 500), (224, 700)):
        found = nearest_shape((height, width), shapes)
        assert abs(np.log(found[0] / found[1] * width / height)) <= np.log(4) / 14 + 0.06
    assert nearest_shape((10, 10_000), shapes) == (112, 448)


def test_native_predictions_are_those_of_the_moved_networks(folder, images):
    predictor = resmlp.load(folder, "cpu", img_size="native")
    saved, found = open_model(folder), predictor.predict(images, top=3)
    logits = predictor.logits(images)
    for image, result, row in zip(images, found, logits):
        height, width = nearest_shape((image.height, image.width), predictor.shapes)
        pixels = torch.from_numpy(np.array(image.resize((width, height), Image.Resampling.BICUBIC))).permute(2, 0, 1)
        model = at_size(saved, (height, width)).model
        with torch.no_grad():
            expected = model(normalize(pixels[None], saved.preprocessing.mean, saved.preprocessing.std))[0]
        torch.testing.assert_close(row, expected, rtol=1e-5, atol=1e-5)
        assert result.labels == tuple(CLASSES[i] for i in expected.argsort(descending=True))
    assert "native" in repr(predictor)
    assert predictor.features(images).shape == (len(images), saved.model.config.architecture.dim)


@pytest.mark.parametrize("workers", [0, 2])
def test_native_batches_hold_each_image_once_by_shape(images, workers, tmp_path):
    files = []
    for i, image in enumerate(images):
        image.save(tmp_path / f"{i}.png")
        files.append(File(str(tmp_path / f"{i}.png")))
    (tmp_path / "3.png").write_bytes(b"broken")
    images_of = ImageSet(("a",), [0] * len(files), files)
    shapes = native_shapes((8, 8), 2)
    counted = []
    for rank in range(2):
        options = {"rank": rank, "world": 2, "shapes": shapes}
        batches = list(EvalBatches(images_of, Preprocessing((16, 16)), 4, workers, **options))
        assert len({tuple(batch["image"].shape[1:]) for batch in batches}) == len(batches)
        assert sum(len(batch["unreadable"]) for batch in batches) == rank
        for batch in batches:
            assert len(batch["image"]) == len(batch["index"]) == len(batch["label"])
            for view, i in zip(batch["image"], batch["index"].tolist()):
                assert view.shape[1:] == nearest_shape(SIZES[i][::-1], shapes)
        counted += [i for batch in batches for i in batch["index"].tolist()]
    assert sorted(counted) == [0, 1, 2, 4, 5]


def test_another_size_is_the_moved_network(folder, images):
    predictor, moved = resmlp.load(folder, "cpu", img_size="24x12"), at_size(open_model(folder), (24, 12))
    pixels = torch.randint(0, 256, (2, 3, 24, 12), dtype=torch.uint8)
    with torch.no_grad():
        expected = moved.model(normalize(pixels, moved.preprocessing.mean, moved.preprocessing.std))
    assert torch.equal(predictor.logits(pixels), expected)
    assert predictor.keep(images[0]).shape == (3, 24, 12)


@pytest.mark.parametrize("given", ["160", 160, (160, 160), [160], "160x160"])
def test_forms_of_a_size(given):
    assert image_size(given) == (160, 160)
    assert image_sizes(given) == ((160, 160),)


def test_several_sizes_and_rectangles():
    assert image_size("320x224") == image_size((320, 224)) == (320, 224)
    assert image_sizes(["160", "320x224", (160, 160)]) == ((160, 160), (320, 224))
    assert image_sizes((320, 224)) == ((320, 224),)
    assert image_size(None) is None
    assert image_sizes(None) == ()


@pytest.mark.parametrize(
    "given", ["", "x", "16x", "16x16x16", "0", "-8", "1e3", "16.0", "99999", "٣", "16 x 16", 0, (), True]
)
def test_what_is_no_size_is_one_line(given):
    with pytest.raises(UserError) as error:
        image_size(given)
    assert str(error.value).startswith("--img-size")
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("img_size", ["native", 16])
def test_networks_that_cannot_be_moved(img_size):
    with pytest.raises(UserError, match=f"--img-size {'native' if img_size == 'native' else '16x16'}: pixels is for"):
        resmlp.load("pixels", img_size=img_size)


def test_native_is_run_by_torch(folder):
    with pytest.raises(UserError, match="--backend onnx is for images of one size"):
        resmlp.load(folder, "cpu", backend="onnx", img_size="native")
