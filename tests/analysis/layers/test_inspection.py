"""What `inspect` writes for every kind of network."""

import errno
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resmlp.analysis.layers import inspection, receptive_field
from resmlp.analysis.layers.anatomy import brief, of_trunk, open_anatomy, used_length, weights
from resmlp.analysis.layers.filters import used_matrix
from resmlp.analysis.layers.inspection import inspect_anatomy
from resmlp.analysis.layers.inspection_page import LARGEST
from resmlp.analysis.layers.scales import draw_scales
from resmlp.analysis.style import BLUE, ORANGE
from resmlp.models import create_model
from resmlp.nn import TriangularMixer
from resmlp.utils.errors import UserError

from .networks import network, noise


def test_matrices_are_cut_to_the_training_sentences():
    mixer = TriangularMixer(6, 6)
    assert used_length([torch.nn.Identity()]) == 0
    torch.nn.init.zeros_(mixer.bias)
    assert used_length([mixer]) == 0
    with torch.no_grad():
        mixer.bias[3] = 1e-9
    assert used_length([TriangularMixer(6, 6), mixer][1:]) == 4
    matrix = used_matrix(mixer, (1, 4))
    assert matrix.shape == (4, 4)
    assert (matrix == np.tril(mixer.weight.detach().numpy()[:4, :4])).all()
    assert weights(mixer, (1, 4))["A"].tolist() == [w for i, row in enumerate(matrix) for w in row[: i + 1]]


@pytest.fixture
def no_figures(monkeypatch):
    """Skips the figures, which take most of the time."""
    monkeypatch.setattr(inspection, "draw_figures", lambda *args: ())


@pytest.mark.parametrize(
    ("depth", "expected"), [(12, [0, 3, 6, 9, 11]), (24, [0, 6, 12, 18, 23]), (1, [0]), (3, [0, 1, 2])]
)
def test_which_layers_are_drawn(depth, expected):
    anatomy = of_trunk(network(depth=depth))
    assert [layer.number for layer in anatomy.choose()] == expected
    assert [layer.number for layer in anatomy.choose([0, depth - 1, 0])] == sorted({0, depth - 1})
    for wrong in (depth, -1):
        with pytest.raises(UserError, match=f"--layers {wrong}: no such layer in .* .0 to {depth - 1}"):
            anatomy.choose([wrong])


@pytest.mark.parametrize(("name", "hint"), [("timm:resmlp_12_224", "give resmlp_12_224, without timm:"),
                                            ("timm:resnet18", "resmlp list models")])  # fmt: skip
def test_other_networks_are_refused(name, hint):
    with pytest.raises(UserError, match="is not a resmlp network") as caught:
        open_anatomy(name)
    assert hint in caught.value.hint


FIGURES = ["filters", "sparsity", "distance", "receptive_fields", "radius", "scales"]


def png_size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG")
    return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])


@pytest.mark.parametrize(
    ("changes", "figures"),
    [
        ({}, FIGURES),
        ({"mixer": "mlp", "norm": "layernorm"}, [name for name in FIGURES if name != "distance"]),
        ({"mixer": "attention", "heads": 2, "pool": "classtoken"}, FIGURES[1:2] + FIGURES[3:]),
        ({"mixer": "none", "norm": "none", "scale": "none"}, ["sparsity", "receptive_fields", "radius"]),
        ({"img_size": (2, 2)}, ["filters", "sparsity", "receptive_fields", "radius", "scales"]),
        ({"img_size": (2, 14), "pool": "classmlp"}, FIGURES),
    ],
)
def test_written_files(changes, figures, tmp_path):
    sizes = {"dim": 8, "depth": 2, "patch_size": 2, "img_size": (14, 10), "num_classes": 2}
    anatomy = of_trunk(create_model("resmlp_s12", **sizes | changes).eval())
    result = inspect_anatomy(anatomy, tmp_path, images=noise(anatomy.trunk))
    saved = json.loads((tmp_path / "inspect.json").read_text())
    assert result.to_dict() == saved | {"out": str(tmp_path)}
    assert saved["figures"] == [f"{name}.png" for name in figures]
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {f"{name}.{kind}" for name in figures for kind in ("png", "svg")} | {
        "inspect.json",
        "report.html",
    }
    for name in figures:
        assert png_size(tmp_path / f"{name}.png")[0] == 1400
        assert (tmp_path / f"{name}.svg").read_text().rstrip().endswith("</svg>")
    page = (tmp_path / "report.html").read_text()
    assert page.count("<img") == len(figures)
    assert ("<canvas" in page) == ("script-src" in page) == ("filters" in figures)
    assert ("no weight matrix over patches" in page) == ("filters" not in figures)


def test_a_large_grid_has_no_distances_but_a_note(tmp_path, monkeypatch):
    for module in (receptive_field, inspection):
        monkeypatch.setattr(module, "MOST", 98)
    anatomy = of_trunk(network(depth=1))  # 9 x 11 tokens
    result = inspect_anatomy(anatomy, tmp_path, images=noise(anatomy.trunk))
    assert "distance.png" not in result.figures
    assert "distance" not in result.layers[0].to_dict()
    assert "Weights by distance are left out: 9 x 11 tokens are more than 98." in result.notes
    assert not [note for note in inspection.notes(of_trunk(network(mixer="mlp"))) if "distance" in note]


def test_the_page_has_the_model_and_the_initialization_of_its_mixers(tmp_path, no_figures):
    trunk = network(depth=1, init="local")
    anatomy = replace(of_trunk(trunk), source="runs/<b>x")
    result = inspect_anatomy(anatomy, tmp_path, images=noise(trunk))
    page = (tmp_path / "report.html").read_text()
    assert "<h1>Inside runs/&lt;b&gt;x (resmlp_s12)</h1>" in page
    assert "<title>Inside runs/&lt;b&gt;x (resmlp_s12)</title>" in page
    assert result.source == "runs/<b>x"
    assert "started as 3x3 convolutions (init local)" in page
    assert "learned" not in page
    assert "init local" not in " ".join(inspection.notes(of_trunk(network(init="local", mixer="mlp"))))
    assert "init local" not in " ".join(inspection.notes(of_trunk(network())))


def test_brief(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert brief(str(tmp_path / "a" / "b")) == "a/b"
    assert brief("resmlp_s12.fb_in1k") == "resmlp_s12.fb_in1k"
    assert brief("hf-hub:me/x/y") == "hf-hub:me/x/y"
    assert brief("/") == "/"
    assert len(brief("x" * 500)) == 80


def test_alternative_texts(tmp_path):
    anatomy = of_trunk(network())
    result = inspect_anatomy(anatomy, tmp_path, images=noise(anatomy.trunk))
    alts = re.findall('alt="([^"]*)"', (tmp_path / "report.html").read_text())
    assert len(alts) == 6
    shares = [layer.sparsity["MLP 2"]["small"] for layer in result.layers]
    assert f"MLP 2 from {shares[0]:.3g} in the first to {shares[-1]:.3g} in the last layer" in alts[1]
    assert f"layer 1 {result.layers[1].distance.mean:.2f}" in alts[2]
    assert f"layer 2 {result.layers[2].radius:.2f}" in alts[3]
    assert "tokens gamma 0.1 in all layers" in alts[5]


def test_equal_curves_are_both_visible(tmp_path):
    branch = {"alpha": 1.0, "beta": 0.0}
    assert draw_scales([{"tokens": branch, "channels": branch}] * 4, tmp_path / "scales.png")
    colors = {tuple(pixel) for row in np.asarray(Image.open(tmp_path / "scales.png").convert("RGB"))[:, 200:1000]
               for pixel in row}  # fmt: skip
    assert {tuple(int(color[i : i + 2], 16) for i in (1, 3, 5)) for color in (BLUE, ORANGE)} <= colors


def test_a_full_disk_leaves_no_partial_file(tmp_path, no_figures, monkeypatch):
    write = Path.write_text

    def full(self, *args, **options):
        if "inspect.json" in self.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, *args, **options)

    monkeypatch.setattr(Path, "write_text", full)
    anatomy = of_trunk(network(depth=1))
    with pytest.raises(UserError, match="No space left"):
        inspect_anatomy(anatomy, tmp_path, images=noise(anatomy.trunk))
    assert not [
        path.name for path in tmp_path.iterdir() if path.name.startswith(".") or path.suffix in (".json", ".html")
    ]


def test_the_page_stays_small_for_a_large_grid(tmp_path):
    sizes = {"dim": 4, "depth": 8, "patch_size": 2, "num_classes": 2}
    anatomy = of_trunk(create_model("resmlp_s12", img_size=56, **sizes).eval())
    inspect_anatomy(anatomy, tmp_path, [7], images=noise(anatomy.trunk))
    page = (tmp_path / "report.html").read_text()
    assert len(page.encode()) <= LARGEST
    start = page.index('id="weights">') + len('id="weights">')
    layers = json.loads(page[start : page.index("</script>", start)])["layers"]
    assert 4 <= len(layers) < 9
    assert {len(layer["numbers"]) for layer in layers} == {14**2}  # of 28 x 28
    assert (layers[0]["name"], layers[-1]["name"]) == ("layer 0", "layer 7")
