"""The scripts of examples/ run, at tiny scale, and print what they promise."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
EXAMPLES = {
    "finetune_folder": (["PATH", "--model", "NETWORK", "--epochs", "1"], "top-1 on the held-out images"),
    "distil": (["--epochs", "1"], "taught   top-1"),
    "dino_neighbors": (["PATH", "--side", "16", "--epochs", "1"], "k-NN of learned features"),
    "segment": (["--epochs", "1"], "mean intersection over union"),
    "translate": (["--epochs", "1"], "forty-two -> "),
    "look_inside": (["--epochs", "1"], "report.html"),
}
SMALLER = {
    "resmlp.data.masks.scenes.TRAIN": 32,
    "resmlp.data.masks.scenes.VAL": 8,
    "resmlp.data.text.numbers.TRAIN": (100, 100, 100),
    "resmlp.data.text.numbers.VAL": (0, 10, 10),
    "resmlp.data.images.digits.DIGITS_VAL": 60,
}
"""what the embedded data is cut down to"""


def test_each_script_is_listed_here():
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == set(EXAMPLES)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Forty images of two classes, and a network for 16 x 16 pixels."""
    from resmlp.config.preprocessing import Preprocessing
    from resmlp.models import create_model, save_model

    root, rng = tmp_path_factory.mktemp("examples"), np.random.default_rng(0)
    for name, shade in (("dark", 60), ("light", 190)):
        (root / "pictures" / name).mkdir(parents=True)
        for i in range(40):
            pixels = (shade + rng.integers(-50, 50, (16, 16, 3))).astype(np.uint8)
            Image.fromarray(pixels).save(root / "pictures" / name / f"{i}.png")
    (root / "network").mkdir()
    save_model(root / "network", create_model("resmlp_digits", img_size=16), (), Preprocessing((16, 16)))
    return {"PATH": root / "pictures", "NETWORK": root / "network"}


@pytest.fixture
def few_digits(monkeypatch):
    """The first 260 of the embedded digits."""
    from sklearn import datasets

    digits = datasets.load_digits()
    few = SimpleNamespace(images=digits.images[:260], target=digits.target[:260])
    monkeypatch.setattr(datasets, "load_digits", lambda: few)


@pytest.mark.slow
@pytest.mark.usefixtures("draft_figures", "few_digits")
@pytest.mark.parametrize("name", EXAMPLES)
def test_it_runs(name, places, tmp_path, monkeypatch, capsys):
    flags, promised = EXAMPLES[name]
    for constant, value in SMALLER.items():
        monkeypatch.setattr(constant, value)
    words = [str(places.get(flag, flag)) for flag in flags]
    monkeypatch.setattr("sys.argv", [f"{name}.py", *words, "--out", str(tmp_path / "run")])
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")
    assert promised in capsys.readouterr().out
