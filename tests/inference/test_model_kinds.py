"""`resmlp.load` opens every kind of MODEL, and `predict` takes every kind of input."""

from weakref import ref

import numpy as np
import pytest
import torch
from PIL import Image

import resmlp
from resmlp.config.model_json import SegmenterConfig, SegmenterModelConfig, TrunkConfig
from resmlp.config.preprocessing import Preprocessing
from resmlp.config.vision import architecture
from resmlp.hub.resolve import resolve
from resmlp.imaging.inputs import read_image, split_inputs
from resmlp.inference import (
    Classifier,
    Embedding,
    Prediction,
    Segmentation,
    SegmentationPredictor,
    Translator,
    prediction,
)
from resmlp.inference.model_kinds import KINDS, load, open_source
from resmlp.models import Segmenter, create_model, save_model
from resmlp.models.segmenter_files import save_segmenter
from resmlp.utils.errors import UserError

SMALL = {"dim": 12, "depth": 2, "patch_size": 4, "img_size": (8, 12)}
LOOK = Preprocessing((8, 12))
CLASSES = ("ant", "bee", "cat")


@pytest.fixture(scope="module")
def models(tmp_path_factory, translator_run, translator_export) -> dict[str, str]:
    """A MODEL of each kind."""
    pytest.importorskip("onnxruntime")
    root = tmp_path_factory.mktemp("kinds")
    torch.manual_seed(0)
    save_model(root / "classifier", create_model("resmlp_s12", num_classes=3, **SMALL), CLASSES, LOOK)
    save_model(root / "features", create_model("resmlp_s12", num_classes=0, **SMALL), (), LOOK)
    trunk = TrunkConfig("resmlp_s12", architecture("resmlp_s12", dim=12, depth=4, patch_size=4), (8, 12), 0)
    config = SegmenterConfig((8, 12), 3, trunk, width=8, auxiliary=0)
    save_segmenter(root / "segmenter", Segmenter(config).eval(), SegmenterModelConfig(config, LOOK, CLASSES))
    resmlp.export(str(root / "classifier"), to="onnx", out=root / "exported")
    resmlp.export(str(root / "segmenter"), to="onnx", out=root / "exported-segmenter")
    shots = root / "images"
    for name in CLASSES:
        (shots / "train" / name).mkdir(parents=True)
        (shots / "val" / name).mkdir(parents=True)
        for i in range(3):
            noise = np.random.default_rng(i).integers(0, 256, (8, 12, 3), dtype=np.uint8)
            Image.fromarray(noise).save(shots / "train" / name / f"{i}.png")
            Image.fromarray(255 - noise).save(shots / "val" / name / f"{i}.png")
    from resmlp.config.evaluation import EvalData

    data = EvalData(root=str(shots), workers=0)
    for to in ("int4", "int8"):
        resmlp.compress(str(root / "classifier"), to=to, out=root / to, data=data, images=4, device="cpu")
    exports = ("exported", "exported-segmenter")
    return {name: str(root / name) for name in ("classifier", "features", "segmenter", *exports)} | {
        "translator": str(translator_run),
        "exported-translator": str(translator_export),
        "compressed": str(root / "int4"),
        "compressed to 8 bits": str(root / "int8"),
        "timm": "timm:resnet10t",
    }


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.fromarray(np.random.default_rng(9).integers(0, 256, (30, 40, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("kind", "predictor", "result"),
    [
        ("classifier", Classifier, Prediction),
        ("features", Classifier, Embedding),
        ("segmenter", SegmentationPredictor, Segmentation),
        ("exported", Classifier, Prediction),
        ("exported-segmenter", SegmentationPredictor, Segmentation),
        ("compressed", Classifier, Prediction),
        ("compressed to 8 bits", Classifier, Prediction),
        ("timm", Classifier, Prediction),
    ],
)
def test_every_kind_of_images_is_ready_to_use(models, photo, kind, predictor, result):
    assert resolve(models[kind]).kind == kind.split()[0]
    loaded = resmlp.load(models[kind], "cpu")
    assert isinstance(loaded, predictor)
    one = loaded.predict(photo)
    several = loaded.predict([photo, photo])
    assert isinstance(one, result)
    assert [type(each) for each in several] == [result] * 2
    assert str(one) == str(several[1])
    assert loaded.predict([]) == []


@pytest.mark.parametrize("kind", ["translator", "exported-translator"])
def test_a_translator_is_ready_to_use(models, kind):
    loaded = load(models[kind], "cpu")
    assert isinstance(loaded, Translator)
    one, (first, second) = loaded.predict("seven"), loaded.predict(["seven", "ten"])
    assert one.text == first.text == loaded.translate(["seven"])[0]
    assert second.text == loaded.translate(["ten"])[0]
    with pytest.raises(UserError, match="takes text"):
        loaded.predict([3])


def test_the_table_has_a_row_for_each_kind(models):
    assert {kind.split()[0] for kind in models} | {"pixels"} == set(KINDS)
    for kind, model in models.items():
        opened = open_source(model)
        ready = opened.predict([]) == [] if kind.startswith("exported-") else opened.model.training is False
        assert ready


def test_all_inputs_of_one_image_give_one_answer(models, photo, tmp_path):
    photo.save(tmp_path / "photo.png")
    array, bytes_ = np.asarray(photo), (tmp_path / "photo.png").read_bytes()
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    loaded = resmlp.load(models["classifier"], "cpu")
    expected = loaded.rank([photo], top=5)[0]
    for given in (tmp_path / "photo.png", str(tmp_path / "photo.png"), bytes_, photo, array, tensor):
        assert loaded.predict(given) == expected
        assert loaded.predict([given]) == [expected]
    assert loaded.predict(tensor[None]) == loaded.predict(array[None]) == [expected]
    assert loaded.predict(photo, top=1).labels == expected.labels[:1]


@pytest.mark.parametrize("kind", ["classifier", "features", "segmenter", "exported", "exported-segmenter"])
def test_one_decoded_image_is_in_memory_at_a_time(models, photo, kind, tmp_path, monkeypatch):
    files, alive, most = [str(tmp_path / f"{i}.png") for i in range(5)], list[ref](), []
    for file in files:
        photo.save(file)

    def read(given, decoding):
        image = read_image(given, decoding)
        most.append(sum(other() is not None for other in alive))
        alive.append(ref(image))
        return image

    loaded = load(models[kind], "cpu")
    expected = str(loaded.predict(photo))
    monkeypatch.setattr(prediction, "read_image", read)
    assert [str(result) for result in loaded.predict(files)] == [expected] * 5
    assert len(most) == 5
    assert max(most) <= 1


def test_images_that_cannot_be_read_are_left_out_of_a_stream(models, photo, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"bad")
    photo.save(tmp_path / "good.png")
    files, broken = [str(tmp_path / name) for name in ("good.png", "bad.png", "good.png")], []
    seen = list(load(models["classifier"], "cpu").stream(files, broken.append))
    assert [each.given for each in seen] == [files[0], files[2]]
    assert [error.name for error in broken] == [files[1]]


@pytest.mark.parametrize("kind", ["classifier", "features", "exported"])
def test_weights_that_overflow_are_an_error(models, photo, kind, tmp_path):
    """Finite weights, whose products are not."""
    model = create_model("resmlp_s12", num_classes=0 if kind == "features" else 3, **SMALL)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("weight"):
                parameter.fill_(3e38)
    save_model(tmp_path / "big", model, () if kind == "features" else CLASSES, LOOK)
    if kind == "exported":
        with pytest.raises(UserError, match="differ by nan"):
            resmlp.export(str(tmp_path / "big"), to="onnx", out=tmp_path / "out")
        return
    with pytest.raises(UserError, match="not finite"):
        load(str(tmp_path / "big"), "cpu").predict(photo)


def test_gray_arrays_are_images_too():
    gray = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for value in (gray, gray[..., None], torch.from_numpy(gray), torch.from_numpy(gray)[None]):
        assert np.array_equal(np.asarray(read_image(value)), np.repeat(gray[..., None], 3, 2))


@pytest.mark.parametrize(
    "value",
    [
        None,
        3,
        {},
        object(),
        np.full((2, 2, 3), 2.0),
        np.zeros((0, 2, 3), np.uint8),
        np.zeros((2, 2, 5), np.uint8),
        b"x",
    ],
    ids=["none", "number", "dict", "object", "floats", "empty", "five channels", "bytes of no image"],
)
def test_what_is_no_image_is_one_line(value):
    with pytest.raises(UserError) as error:
        [read_image(given) for given in split_inputs([value])[0]]
    assert len(str(error.value).splitlines()) == 1


def test_a_predictor_shows_its_network_size_classes_and_device(models):
    expected = {
        "classifier": "TorchPredictor(resmlp_s12, 8x12, 3 classes, cpu)",
        "features": "TorchPredictor(resmlp_s12, 8x12, features, cpu)",
        "segmenter": "TorchSegmentationPredictor(resmlp_s12 with UPerNet, 8x12, 3 classes, cpu)",
        "exported": "ExportedPredictor(resmlp_s12, 8x12, 3 classes, cpu, onnx)",
        "exported-segmenter": "ExportedSegmentationPredictor(resmlp_s12 with UPerNet, 8x12, 3 classes, cpu, onnx)",
        "exported-translator": "ExportedTranslator(resmlp_mt_tiny, en -> de, at most 23 tokens, cpu, onnx)",
        "compressed to 8 bits": "ExportedPredictor(resmlp_s12, 8x12, 3 classes, cpu, onnx, int8)",
        "translator": "TorchTranslator(resmlp_mt_tiny, en -> de, at most 23 tokens, cpu)",
        "timm": "TorchPredictor(ResNet, 176x176, 1,000 classes, cpu, random weights)",
    }
    assert {name: repr(load(models[name], device="cpu")) for name in expected} == expected
