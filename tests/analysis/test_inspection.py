"""What `inspect` writes for networks of every kind."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from resmlp.analysis.anatomy import of_trunk, open_anatomy, used_length, weights
from resmlp.analysis.filters import used
from resmlp.analysis.inspection import LARGEST, inspect
from resmlp.errors import UserError
from resmlp.models import create_model
from resmlp.nn import TriangularMixer

from .networks import network, noise


def test_a_sentence_uses_what_training_has_reached():
    mixer = TriangularMixer(6, 6)
    assert used_length([torch.nn.Identity()]) == 0
    torch.nn.init.zeros_(mixer.bias)
    assert used_length([mixer]) == 0
    with torch.no_grad():
        mixer.bias[3] = 1e-9
    assert used_length([TriangularMixer(6, 6), mixer][1:]) == 4
    matrix = used(mixer, (1, 4))
    assert matrix.shape == (4, 4)
    assert (matrix == np.tril(mixer.weight.detach().numpy()[:4, :4])).all()
    assert weights(mixer, (1, 4))["A"].tolist() == [w for i, row in enumerate(matrix) for w in row[: i + 1]]


@pytest.mark.parametrize(
    ("depth", "expected"), [(12, [0, 3, 6, 9, 11]), (24, [0, 6, 12, 18, 23]), (1, [0]), (3, [0, 1, 2])]
)
def test_which_layers_are_drawn(depth, expected):
    anatomy = of_trunk(network(depth=depth))
    assert [layer.number for layer in anatomy.choose()] == expected
    assert [layer.number for layer in anatomy.choose([0, depth - 1, 0])] == sorted({0, depth - 1})
    for wrong in (depth, -1):
        with pytest.raises(UserError, match=f"--layers {wrong}: .* has none"):
            anatomy.choose([wrong])


@pytest.mark.parametrize(("name", "hint"), [("timm:resmlp_12_224", "give resmlp_12_224, without timm:"),
                                            ("timm:resnet18", "resmlp list models")])  # fmt: skip
def test_networks_of_others_are_refused(name, hint):
    with pytest.raises(UserError, match="not built of our layers") as caught:
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
def test_everything_that_is_written(changes, figures, tmp_path):
    sizes = {"dim": 8, "depth": 2, "patch_size": 2, "img_size": (14, 10), "num_classes": 2}
    anatomy = of_trunk(create_model("resmlp_s12", **sizes | changes).eval())
    result = inspect(anatomy, tmp_path, images=noise(anatomy.trunk))
    assert result == json.loads((tmp_path / "inspect.json").read_text())
    assert result["figures"] == [f"{name}.png" for name in figures]
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
    assert ("no matrix over places" in page) == ("filters" not in figures)


def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch):
    write = Path.write_text

    def full(self, *args, **options):
        if "inspect.json" in self.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, *args, **options)

    monkeypatch.setattr(Path, "write_text", full)
    anatomy = of_trunk(network(depth=1))
    with pytest.raises(UserError, match="No space left"):
        inspect(anatomy, tmp_path, images=noise(anatomy.trunk))
    assert not [
        path.name for path in tmp_path.iterdir() if path.name.startswith(".") or path.suffix in (".json", ".html")
    ]


def test_the_page_stays_small_whatever_the_grid(tmp_path):
    sizes = {"dim": 4, "depth": 8, "patch_size": 2, "num_classes": 2}
    anatomy = of_trunk(create_model("resmlp_s12", img_size=56, **sizes).eval())
    inspect(anatomy, tmp_path, [7], images=noise(anatomy.trunk))
    page = (tmp_path / "report.html").read_text()
    assert len(page.encode()) <= LARGEST
    start = page.index('id="weights">') + len('id="weights">')
    layers = json.loads(page[start : page.index("</script>", start)])["layers"]
    assert 4 <= len(layers) < 9
    assert {len(layer["numbers"]) for layer in layers} == {14**2}  # of 28 x 28
    assert (layers[0]["name"], layers[-1]["name"]) == ("layer 0", "layer 7")
