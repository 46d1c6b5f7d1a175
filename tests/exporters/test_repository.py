"""Model repositories: the layout, the configurations, and the graphs run as the servers run them."""

import json
import re
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import yaml
from numeric import on_pixels
from torch import nn

from resmlp.cli.main import main
from resmlp.config.model_json import SegmenterConfig, SegmenterModelConfig, TrunkConfig
from resmlp.config.preprocessing import Preprocessing
from resmlp.config.vision import architecture
from resmlp.exporters.repository import export_repository
from resmlp.models import Segmenter, create_model
from resmlp.models.model_files import save_model
from resmlp.models.segmenter_files import save_segmenter
from resmlp.utils.errors import UserError

pytestmark = pytest.mark.slow
onnxruntime, openvino = pytest.importorskip("onnxruntime"), pytest.importorskip("openvino")
SIZE = (8, 12)
LOOK = Preprocessing(SIZE, 1.0, "bicubic", (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
PBTXT = """name: "pets"
platform: "onnxruntime_onnx"
max_batch_size: 32
input [
  {
    name: "images"
    data_type: TYPE_UINT8
    dims: [ 3, 8, 12 ]
  }
]
output [
  {
    name: "probabilities"
    data_type: TYPE_FP32
    dims: [ 3 ]
    label_filename: "labels.txt"
  }
]
dynamic_batching { }
"""
DOCS = Path(__file__).parents[2] / "docs" / "serve-elsewhere.md"


def network(classes=3) -> nn.Module:
    torch.manual_seed(classes)
    model = create_model("resmlp_digits", img_size=SIZE, num_classes=classes, patch_size=2, dim=8, depth=2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model.eval()


def save(folder: Path, classes=("ant", "bee", "cat\n")) -> Path:
    save_model(folder, network(len(classes)), classes, LOOK)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return save(tmp_path_factory.mktemp("repository") / "pets")


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory) -> Path:
    pytest.importorskip("segmentation_models_pytorch")
    folder = tmp_path_factory.mktemp("repository") / "scenes"
    trunk = TrunkConfig("resmlp_s12", architecture("resmlp_s12", dim=16, depth=4, patch_size=4), (24, 32), 0)
    config = SegmenterConfig((24, 32), 2, trunk, width=16, auxiliary=0)
    look = Preprocessing((24, 32), 1.0, "bilinear", LOOK.mean, LOOK.std)
    save_segmenter(folder, Segmenter(config).eval(), SegmenterModelConfig(config, look, ("road", "sky")))
    return folder


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory) -> Callable[[str], Path]:
    """`exported(format)`: a model repository with the first version of `pets`. Not to be written to."""

    @cache
    def export(to: str) -> Path:
        folder = tmp_path_factory.mktemp("repository") / "models"
        export_repository(run, to, folder)
        return folder

    return export


@pytest.fixture
def copied(exported, tmp_path) -> Callable[[str], Path]:
    """`copied(format)`: a copy of the same, to be written to."""
    return lambda to: shutil.copytree(exported(to), tmp_path / "models")


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def triton_ports(text: str) -> dict[str, tuple[str, list[int]]]:
    """name -> (type, dims) of every input and output of a config.pbtxt."""
    found = re.findall(r'name: "(\w+)"\s+data_type: (\w+)\s+dims: \[ ([\d, ]+) \]', text)
    return {name: (kind, [int(side) for side in dims.split(",")]) for name, kind, dims in found}


def graph_ports(path: Path) -> dict[str, tuple[str, list[int]]]:
    """The same of the graph itself, read by the package onnx; the first dimension must be free."""
    graph, kinds = onnx.load(path).graph, {onnx.TensorProto.UINT8: "TYPE_UINT8", onnx.TensorProto.FLOAT: "TYPE_FP32"}
    found = {}
    for port in [*graph.input, *graph.output]:
        batch, *sides = port.type.tensor_type.shape.dim
        assert batch.dim_param
        found[port.name] = (kinds[port.type.tensor_type.elem_type], [side.dim_value for side in sides])
    return found


def run_onnx(folder: Path, images: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(folder / "1" / "model.onnx").run(None, {"images": images})[0]


def run_openvino(folder: Path, images: np.ndarray) -> np.ndarray:
    (entry,) = json.loads((folder.parent / "config.json").read_text())["model_config_list"]
    options = entry["config"]["plugin_config"]
    path = folder.parent / entry["config"]["base_path"] / "1" / "model.xml"
    return openvino.Core().compile_model(path, "CPU", options)({"images": images})[0]


def test_triton_layout_and_configuration(run, tmp_path, capsys):
    assert main(["export", str(run), "--repository", str(tmp_path / "models"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["out"] == str(tmp_path / "models" / "pets" / "1")
    names = {"config.pbtxt", "labels.txt", "1/model.onnx", "1/model.json"}
    assert files(tmp_path / "models") == {f"pets/{name}" for name in names}
    assert (tmp_path / "models" / "pets" / "config.pbtxt").read_text() == PBTXT
    assert (tmp_path / "models" / "pets" / "labels.txt").read_text() == "ant\nbee\ncat\\n\n"


def test_model_server_layout_and_configuration(run, copied):
    models = copied("openvino")
    export_repository(run, "openvino", models, "cats")
    names = {"labels.txt", "1/model.xml", "1/model.bin", "1/model.json"}
    assert files(models) == {"config.json", *(f"{name}/{file}" for name in ("pets", "cats") for file in names)}
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    assert json.loads((models / "config.json").read_text()) == {
        "model_config_list": [
            {"config": {"name": "pets", "base_path": "pets", "plugin_config": hint}},
            {"config": {"name": "cats", "base_path": "cats", "plugin_config": hint}},
        ]
    }


@pytest.mark.parametrize(("to", "program"), [("onnx", run_onnx), ("openvino", run_openvino)])
@pytest.mark.parametrize("batch", [1, 5])
def test_the_graph_gives_the_probabilities_of_torch(exported, to, program, batch):
    images = torch.randint(0, 256, (batch, 3, *SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = on_pixels(network(), LOOK, nn.Softmax(1))(images.double())
    assert np.abs(program(exported(to) / "pets", images.numpy()) - expected.numpy()).max() < 1e-5


@pytest.mark.parametrize("kind", ["run", "segmenter"])
def test_the_configuration_is_that_of_the_graph(kind, exported, request, tmp_path):
    net = exported("onnx") / "pets" if kind == "run" else tmp_path / "net"
    if kind == "segmenter":
        export_repository(request.getfixturevalue(kind), "onnx", tmp_path, "net")
    text = (net / "config.pbtxt").read_text()
    assert triton_ports(text) == graph_ports(net / "1" / "model.onnx")
    assert len(triton_ports(text)) == 2
    assert ("label_filename" in text) == (kind == "run")


@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_a_new_version_stands_beside_the_old_one_and_settings_stay(run, copied, to):
    models = copied(to)
    settings = models / ("pets/config.pbtxt" if to == "onnx" else "config.json")
    edited = settings.read_text().replace("max_batch_size: 32", "max_batch_size: 8").replace("}\n  ]", "}  ]")
    settings.write_text(edited)
    before = {name: (models / name).read_bytes() for name in files(models)}
    (models / "pets" / "7").mkdir()
    (models / "pets" / "1").rename(models / "pets" / "keep")
    for path in (models / "pets" / "keep").iterdir():
        path.rename(models / "pets" / "7" / path.name)
    (models / "pets" / "keep").rmdir()
    result = export_repository(run, to, models)
    assert result.out == models / "pets" / "8"
    assert settings.read_text() == edited
    now = {name.replace("/7/", "/1/"): (models / name).read_bytes() for name in files(models) if "/8/" not in name}
    assert now == before


def unchanged(folder: Path, words: str, *args, **options) -> None:
    before = files(folder)
    with pytest.raises(UserError, match=words):
        export_repository(*args, **options)
    assert files(folder) == before
    assert not list(folder.rglob(".*"))


def test_a_version_that_clients_would_not_understand_is_refused(run, copied, tmp_path):
    models = copied("onnx")
    other = save(tmp_path / "other", ("ant", "bee", "cow"))
    unchanged(models, "other inputs, outputs or classes", other, "onnx", models, "pets")
    unchanged(models, "holds exports to onnx", run, "openvino", models, "pets")


def test_folders_of_others_stay(run, tmp_path):
    (tmp_path / "pets" / "1").mkdir(parents=True)
    (tmp_path / "pets" / "1" / "model.onnx").write_text("theirs")
    unchanged(tmp_path, "no version that export wrote", run, "onnx", tmp_path)
    (tmp_path / "config.json").write_text('{"a": 1}')
    unchanged(tmp_path, "has no model_config_list", run, "openvino", tmp_path, "cats")


def test_nothing_is_half_written(run, copied, tmp_path):
    unchanged(tmp_path, "nothing is written", run, "onnx", tmp_path, tolerance=1e-12)
    models = copied("onnx")
    unchanged(models, "nothing is written", run, "onnx", models, tolerance=1e-12)


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "-x", 'a"b', "a b", "ä"])
def test_a_name_that_is_no_name_of_a_folder_is_refused(run, tmp_path, name):
    unchanged(tmp_path, "--name", run, "onnx", tmp_path, name)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--repository", "r", "--out", "o"], "--out and --repository"),
        (["--name", "x"], "only with --repository"),
        (["--repository", "r", "--to", "torch"], "has no model repository"),
    ],
)
def test_flags_that_do_not_go_together_are_one_line(run, tmp_path, monkeypatch, capsys, flags, words):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(run), *flags]) == 2
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1
    assert not files(tmp_path)


def test_the_services_of_the_docs_are_complete():
    blocks = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    formats = {}
    for block in blocks:
        service = yaml.safe_load(block)
        assert service["apiVersion"] == "serving.kserve.io/v1beta1"
        assert service["kind"] == "InferenceService"
        assert re.fullmatch("[a-z0-9-]+", service["metadata"]["name"])
        model = service["spec"]["predictor"]["model"]
        assert model["protocolVersion"] == "v2"
        assert model["storageUri"].startswith(("s3://", "pvc://"))
        formats[model["runtime"]] = model["modelFormat"]["name"]
    assert formats == {"kserve-tritonserver": "onnx", "kserve-openvino": "openvino_ir"}
