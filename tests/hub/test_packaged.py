"""The networks of the package, and commands without MODEL."""

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import resmlp
from resmlp.backends.numpy_trunk import gelu, is_plain
from resmlp.cli.main import main
from resmlp.config.preprocessing import Preprocessing
from resmlp.hub import packaged
from resmlp.hub.resolve import resolve
from resmlp.models import create_model
from resmlp.models.model_files import save_model
from resmlp.utils.errors import UserError

ROOT = Path(__file__).parents[2]
CLASSES = ("airplane", "cat", "dog")
WORDS = {"seven": "sieben", "twenty-one": "einundzwanzig", "three hundred forty-two": "dreihundertzweiundvierzig"}
RECIPE = {"name": "cifar10", "about": "A test", "data": {"source": "folder"}, "run": {"seed": 0}}


@pytest.fixture
def run(tmp_path) -> Path:
    """What a run folder of a classifier has."""
    torch.manual_seed(0)
    model = create_model("resmlp_digits", img_size=(8, 8), num_classes=3, patch_size=2, dim=8, depth=2).eval()
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    save_model(tmp_path / "run", model, CLASSES, Preprocessing((8, 8)))
    (tmp_path / "run" / "recipe.json").write_text(json.dumps(RECIPE))
    return tmp_path / "run"


@pytest.fixture
def script():
    """benchmarks/package_network.py"""
    spec = importlib.util.spec_from_file_location("package_network", ROOT / "benchmarks" / "package_network.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def photo(tmp_path) -> str:
    Image.new("RGB", (9, 7), (200, 30, 30)).save(tmp_path / "photo.jpg")
    return str(tmp_path / "photo.jpg")


@pytest.fixture
def with_classifier(run, script, tmp_path, monkeypatch) -> Path:
    """A package in which cifar10 is the only network."""
    monkeypatch.setattr(script, "score", lambda folder, metric: 0.9)
    script.package(run, "cifar10", tmp_path / "packaged", tmp_path)
    monkeypatch.setattr(packaged, "FOLDER", tmp_path / "packaged")
    return tmp_path / "packaged"


def test_every_packaged_network_is_small_and_has_a_card():
    assert "numbers" in packaged.packaged_names()
    for name in packaged.packaged_names():
        folder = packaged.packaged_folder(name)
        card = (folder / "README.md").read_text(encoding="utf-8")
        assert f"packaged:{name}" in card
        assert "Apache-2.0" in card
        assert "/" not in card.split("Training:")[0].replace(f"results/{name}.json", "")
        limit = 1_000_000 if (folder / "tokenizer.json").exists() else 1_200_000
        assert sum(file.stat().st_size for file in folder.iterdir()) < limit
        assert not (folder / "recipe.json").exists()
        assert resolve(f"packaged:{name}").trained


def test_the_packaged_translator_reaches_the_recorded_accuracy(capsys):
    card = (packaged.FOLDER / "numbers" / "README.md").read_text(encoding="utf-8")
    recorded = json.loads((ROOT / "results" / "numbers.json").read_text())["numbers"]["exact_match"]
    assert float(card.split("exact_match ")[1].split()[0]) >= recorded - 0.002


@pytest.mark.parametrize("how", ["standard input", "a file", "a dash", "by name"])
def test_translate_without_a_model_translates_numbers(how, tmp_path, monkeypatch, capsys):
    text = tmp_path / "text"
    text.write_text("".join(f"{word}\n" for word in WORDS))
    with text.open("rb") as stream:
        monkeypatch.setattr("sys.stdin", type("Stdin", (), {"buffer": stream, "isatty": stream.isatty}))
        ways = {"a file": [str(text)], "a dash": ["-"], "by name": ["packaged:numbers", str(text)]}
        assert main(["translate", "--device", "cpu", *ways.get(how, [])]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines() == list(WORDS.values())
    notes = [] if how == "by name" else ["note: no MODEL is given: packaged:numbers (en to de)"]
    assert shown.err.splitlines() == notes


@pytest.mark.parametrize("files", [1, 2])
def test_predict_of_images_alone_takes_the_packaged_classifier(files, with_classifier, photo, capsys):
    assert main(["predict", *[photo] * files, "--device", "cpu", "--json"]) == 0
    shown = capsys.readouterr()
    entries = json.loads(shown.out)["predictions"]
    assert [entry["file"] for entry in entries] == [photo] * files
    assert set(entries[0]["probabilities"]) == set(CLASSES)
    assert shown.err == "note: no MODEL is given: packaged:cifar10 (airplane, cat, dog)\n"


def test_numpy_gives_what_torch_gives(with_classifier):
    ours, theirs = (resmlp.load("packaged:cifar10", "cpu", backend) for backend in (None, "torch"))
    assert ours.ran.backend == "numpy"
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)
    assert np.abs(ours.logits(images) - theirs.logits(images).numpy()).max() < 1e-5
    assert np.abs(ours.features(images) - theirs.features(images).numpy()).max() < 1e-5
    pictures = [Image.fromarray(image.transpose(1, 2, 0)).resize((30, 20)) for image in images]
    assert [one.label for one in ours.predict(pictures)] == [one.label for one in theirs.predict(pictures)]
    assert np.ptp(ours.logits(images), 0).min() > 0.1, "the network says the same of everything"


def test_gelu_is_exact():
    x = np.linspace(-9, 9, 10_001, dtype=np.float32)
    expected = [value * 0.5 * (1 + math.erf(value / 2**0.5)) for value in x.tolist()]
    assert np.abs(gelu(x) - expected).max() < 2e-6


@pytest.mark.parametrize(
    ("changed", "fits"),
    [({}, True), ({"mixer": "mlp"}, False), ({"norm": "layernorm"}, False), ({"pos_embed": True}, False)],
)
def test_numpy_has_the_parts_of_the_paper_alone(changed, fits):
    arch = create_model("resmlp_digits", img_size=8, depth=1, **changed).config.architecture
    assert is_plain(arch) == fits


def test_the_packaged_classifier_answers_without_torch(with_classifier, photo):
    code = f"""
import sys
from pathlib import Path
from resmlp.cli.main import main
from resmlp.hub import packaged
packaged.FOLDER = Path({str(with_classifier)!r})
assert main(["predict", {photo!r}]) == 0
print({{"torch", "scipy", "timm"}} & set(sys.modules), file=sys.stderr)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stderr.splitlines()[-1] == "set()"


def test_serve_without_a_model_serves_the_packaged_classifier(with_classifier, monkeypatch, capsys):
    pytest.importorskip("uvicorn")
    served = []
    monkeypatch.setattr("resmlp.serving.server.serve", lambda models, *options: served.extend(models))
    assert main(["serve"]) == 0
    assert served == ["cifar10=packaged:cifar10"]
    assert capsys.readouterr().err == "note: no MODEL is given: packaged:cifar10 (airplane, cat, dog)\n"


def test_a_network_that_is_not_packaged_is_one_line(tmp_path, photo, monkeypatch, capsys):
    monkeypatch.setattr(packaged, "FOLDER", tmp_path)
    for command in (["predict", photo], ["serve"], ["translate"], ["predict", "packaged:cifar10", photo]):
        assert main(command) == 2
        message = capsys.readouterr().err
        assert message.count("\n") == 1
        assert "the package has no network" in message


@pytest.mark.parametrize("name", ["", "number", "../models", "numbers/", "a\nb"])
def test_an_unknown_name_is_refused(name):
    with pytest.raises(UserError, match="the package has no network"):
        resolve(f"packaged:{name}")


def test_the_packaged_form_answers_as_the_run(run, with_classifier, photo, capsys):
    answers = []
    for model in (str(run), "packaged:cifar10"):
        assert main(["predict", model, photo, "--device", "cpu", "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out)["predictions"][0]["probabilities"])
    assert answers[0] == pytest.approx(answers[1], abs=0.02)
    assert answers[0] != answers[1]
    files = {path.name for path in (with_classifier / "cifar10").iterdir()}
    assert files == {"model.safetensors", "model.json", "README.md", "expected.json"}
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in (with_classifier / "cifar10").iterdir())


@pytest.mark.parametrize(
    ("scores", "recorded", "limit", "words"),
    [
        ((0.9, 0.88), 0.8, 10**6, "8 bits lose accuracy: 0.9000 to 0.8800"),
        ((0.7, 0.7), 0.8, 10**6, "0.7000 is below 0.8000 of results/cifar10.json"),
        ((0.9, 0.9), 0.8, 100, "and the limit is 100"),
    ],
)
def test_a_network_that_is_worse_or_too_large_is_refused(
    run, script, tmp_path, monkeypatch, scores, recorded, limit, words
):
    left = list(scores)
    monkeypatch.setattr(script, "score", lambda folder, metric: left.pop(0))
    monkeypatch.setattr(script, "LIMITS", {"classifier": limit})
    (tmp_path / "cifar10.json").write_text(json.dumps({"numbers": {"top1": recorded}}))
    with pytest.raises(UserError, match=words):
        script.package(run, "cifar10", tmp_path / "packaged", tmp_path)
    assert not (tmp_path / "packaged").exists()
