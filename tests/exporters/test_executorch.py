"""A classifier as a .pte, run by ExecuTorch's Python runtime, against the network in torch."""

import numpy as np
import pytest
import torch
from PIL import Image

import resmlp
from resmlp.backends.executorch import LARGEST_BATCH
from resmlp.cli.main import main
from resmlp.config.preprocessing import Preprocessing
from resmlp.models import create_model, save_model

LOOK = Preprocessing((16, 16), 0.9, "bicubic", (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


@pytest.fixture
def run(tmp_path):
    torch.manual_seed(0)
    model = create_model("resmlp_digits", img_size=16, num_classes=3, init="fan-in").eval()
    save_model(tmp_path / "run", model, ("ant", "bee", "cat"), LOOK)
    return tmp_path / "run"


@pytest.mark.slow
@pytest.mark.parametrize("pixels", [False, True])
def test_predictions_are_those_of_torch(run, pixels, tmp_path):
    pytest.importorskip("executorch", reason="the extra executorch is not installed")
    result = resmlp.export(run, to="executorch", out=tmp_path / "out", with_preprocessing=pixels)
    assert result.files == ("model.pte",)
    ours, theirs = resmlp.load(tmp_path / "out"), resmlp.load(run, "cpu")
    images = np.random.default_rng(0).integers(0, 256, (LARGEST_BATCH + 5, 3, 16, 16), dtype=np.uint8)
    np.testing.assert_allclose(ours.probabilities(images), theirs.probabilities(images), rtol=0, atol=1e-4)
    for count in (1, 2):
        found = ours.probabilities(images[:count])
        np.testing.assert_allclose(found, theirs.probabilities(images[:count]), rtol=0, atol=1e-4)
    (tmp_path / "out" / "model.pte").write_bytes(b"broken")
    Image.fromarray(images[0].transpose(1, 2, 0)).save(tmp_path / "a.png")
    assert main(["predict", str(tmp_path / "out"), str(tmp_path / "a.png")]) == 2


def test_a_missing_package_is_named(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("resmlp.exporters.formats.find_spec", lambda name: None)
    assert main(["export", str(run), "--to", "executorch", "--out", str(tmp_path / "out")]) == 2
    assert "--to executorch needs executorch, which is not installed" in capsys.readouterr().err
