"""`exif` and `value_range` reach every reader of images: splits, archives, batches and predictions."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resmlp import create_model
from resmlp.config import Augment, Data
from resmlp.config.evaluation import EvalData
from resmlp.config.preprocessing import Decoding, Preprocessing
from resmlp.data import EvalBatches, TrainBatches, open_eval, open_splits
from resmlp.data.images.unlabeled import open_collection
from resmlp.evaluation.evaluator import Evaluator
from resmlp.hub.resolve import resolve
from resmlp.inference import load
from resmlp.models.model_files import save_model
from resmlp.utils.devices import Process

STORED = np.zeros((8, 8, 3), np.uint8)
STORED[:4, :4], STORED[:4, 4:], STORED[4:, :4] = 80, 160, 240
DEEP = (STORED[..., 0].astype(np.uint16) * 16).astype(np.uint16)  # 12 bits


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of images with EXIF orientation 3, and a third one of 12 bits."""
    exif = Image.Exif()
    exif[0x0112] = 3
    for name in "abc":
        for part in ("train", "val"):
            folder = tmp_path / "tree" / part / name
            folder.mkdir(parents=True)
            for i in range(2):
                image = Image.fromarray(DEEP if name == "c" else STORED)
                image.save(folder / f"{i}.png", **({} if name == "c" else {"exif": exif}))
    return tmp_path / "tree"


def packed(root: Path, ending: str) -> Path:
    archive = root.parent / f"all.{ending}"
    with tarfile.open(archive, "w:gz" if ending == "tar.gz" else "w") as tar:
        tar.add(root, "tree")
    return archive


def expected(exif: str) -> np.ndarray:
    return STORED if exif == "ignore" else STORED[::-1, ::-1]


@pytest.mark.parametrize("kind", ["folder", "tar", "tar.gz"])
@pytest.mark.parametrize("exif", ["apply", "ignore"])
def test_splits_and_batches(root, kind, exif):
    path = root if kind == "folder" else packed(root, kind)
    data = Data(
        root=str(path), img_size=(8,), crop_ratio=1.0, batch_size=6, workers=0, exif=exif, value_range=(0, 4080)
    )
    train, val = open_splits(data)
    for images in (train, val, open_eval(data), open_collection(data, labels=False).train):
        assert np.array_equal(images.read(0), expected(exif))
        assert np.array_equal(images.read(len(images) - 1), STORED)
    (batch,) = TrainBatches(train, data, Augment(crop="center", flip=0), seed=0).epoch(0)
    first = batch["image"][batch["label"] == 0][0].permute(1, 2, 0)
    assert np.array_equal(first, expected(exif))
    plain = open_splits(Data(root=str(path))).val  # the preprocessing of the model decides
    (batch,) = EvalBatches(plain, data.preprocessing(), 6, 0)
    assert np.array_equal(batch["image"][0].permute(1, 2, 0), expected(exif))
    assert np.array_equal(batch["image"][-1].permute(1, 2, 0), STORED)


@pytest.mark.parametrize("exif", ["apply", "ignore"])
def test_predictions_decode_as_the_model_says(root, tmp_path, exif):
    torch.manual_seed(0)
    model = create_model("resmlp_digits", img_size=8, num_classes=3)
    torch.nn.init.normal_(model.head.weight)
    for value_range in (None, (0.0, 4080.0)):
        folder = tmp_path / f"{value_range}"
        preprocessing = Preprocessing((8, 8), 1.0, exif=exif, value_range=value_range)
        save_model(folder, model, ("a", "b", "c"), preprocessing)
        predictor = load(folder)
        assert predictor.preprocessing == preprocessing
        file = root / "val/a/0.png"
        turned = predictor.predict(Image.fromarray(np.ascontiguousarray(expected(exif))))
        assert predictor.predict(file) == predictor.predict(file.read_bytes()) == turned
        deep = predictor.predict(root / "val/c/0.png")
        assert (deep == predictor.predict(Image.fromarray(STORED))) == (value_range is not None)


@pytest.mark.parametrize("own", ["apply", "ignore"])
def test_an_evaluation_can_choose(root, tmp_path, own):
    folder = tmp_path / "model"
    model = create_model("resmlp_digits", img_size=8, num_classes=3)
    save_model(folder, model, ("a", "b", "c"), Preprocessing((8, 8), 1.0, exif=own))
    for asked in (None, "apply", "ignore"):
        evaluator = Evaluator(resolve(folder), EvalData(root=str(root), workers=0, exif=asked), Process())
        (batch,) = evaluator._batches(evaluator.images)
        assert np.array_equal(batch["image"][0].permute(1, 2, 0), expected(asked or own))


def test_pixels_in_memory_do_not_change():
    train, _ = open_splits(Data(source="digits", exif="ignore"))
    assert train.decoded(Decoding("apply", (0, 1))).images == train.images
