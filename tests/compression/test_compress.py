"""Compressed networks, opened again; counts and masks by brute force."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from numeric import gamma
from safetensors.torch import load_file

from resmlp.compression import int8
from resmlp.compression.compress import compress_saved
from resmlp.compression.methods import largest, masked, methods, quantize, two_of_four
from resmlp.config.model_json import ExportedModelConfig
from resmlp.config.preprocessing import Preprocessing
from resmlp.data import normalize
from resmlp.hub.resolve import read_config
from resmlp.inference import load
from resmlp.models import Saved, create_model, open_model
from resmlp.models.quantize import matrices
from resmlp.utils.errors import UserError

SIZE = (8, 12)
PREPROCESSING = Preprocessing(SIZE, 1.0, "bicubic", (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


@pytest.fixture
def saved() -> Saved:
    model = create_model("resmlp_digits", img_size=SIZE, num_classes=3, patch_size=2, dim=16, depth=2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return Saved(model.eval(), ("a", "b", "c"), PREPROCESSING)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (40, 3, *SIZE), dtype=torch.uint8)


def no_score(saved):
    return {"top1": 0.5, "top5": 0.75}


@torch.no_grad()
def logits(saved, images):
    return saved.model(normalize(images, PREPROCESSING.mean, PREPROCESSING.std))


def test_two_of_four_by_brute_force():
    weight = torch.randn(6, 2, 6)
    mask = two_of_four(weight).reshape(6, 12).numpy()
    rows = weight.reshape(6, 12).abs().numpy()
    for row, kept in zip(rows, mask):
        for start in range(0, 12, 4):
            four, own = row[start : start + 4], kept[start : start + 4]
            assert own.sum() == 2
            assert four[own].min() > four[~own].max()
    assert two_of_four(torch.randn(3, 7)).all()
    assert two_of_four(torch.zeros(1, 4)).sum() == 2


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_largest_by_sorting(share):
    weight = torch.randn(7, 9)
    mask = largest(weight, share)
    expected = np.sort(weight.abs().numpy().flatten())[::-1][: round(share * 63)]
    np.testing.assert_array_equal(np.sort(weight[mask].abs().numpy())[::-1], expected)


@pytest.mark.isa
def test_the_remaining_weights_are_corrected():
    weight, inputs = torch.randn(8, 16), torch.randn(300, 6) @ torch.randn(6, 16) + 0.1 * torch.randn(300, 16)
    mask = two_of_four(weight)
    plain, corrected = masked(weight, mask, None), masked(weight, mask, inputs.T @ inputs)
    assert ((plain == 0) == ~mask).all()
    assert ((corrected == 0) == ~mask).all()
    errors = [((inputs @ (weight - pruned).T) ** 2).mean() for pruned in (plain, corrected)]
    assert errors[1] < 0.7 * errors[0]


@pytest.mark.parametrize("to", ["int4", "pruned", "2:4"])
def test_the_result_is_a_model_folder(to, saved, images, tmp_path):
    before = {key: tensor.clone() for key, tensor in saved.model.state_dict().items()}
    scored = []
    result = compress_saved(saved, tmp_path / "out", to, images, lambda s: scored.append(s) or no_score(s), 0.25)
    report = json.loads((tmp_path / "out" / "compress.json").read_text())
    assert result.to_dict() == report | {"out": str(tmp_path / "out")}
    assert (result.to, result.images) == (to, 40)
    assert report["before"] == {"top1": 0.5, "top5": 0.75, "bytes": result.before.bytes}
    opened = open_model(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"compress.json", "model.json", "model.safetensors"}
    assert (opened.classes, opened.preprocessing) == (saved.classes, PREPROCESSING)
    assert opened.model.config == saved.model.config
    assert all(torch.equal(tensor, before[key]) for key, tensor in saved.model.state_dict().items())
    assert scored[0] is saved
    torch.testing.assert_close(logits(scored[1], images), logits(opened, images))
    original, compressed = logits(saved, images), logits(opened, images)
    assert not torch.equal(original, compressed)
    assert (original - compressed).std() < 0.6 * original.std()
    assert result.after.bytes == (tmp_path / "out" / "model.safetensors").stat().st_size
    weights = {k: w for k, w in matrices(opened.model).items() if to == "int4" or k.startswith("blocks.")}
    zeros, count = (sum(int(n) for n in part) for part in zip(*[((w == 0).sum(), w.numel()) for w in weights.values()]))
    assert result.zeros == pytest.approx(zeros / count)
    if to != "int4":
        assert result.zeros == pytest.approx({"pruned": 0.25, "2:4": 0.5}[to], abs=1e-3)
        assert torch.equal(opened.model.head.weight, saved.model.head.weight)


def test_bytes_of_int4(saved, images, tmp_path):
    result = compress_saved(saved, tmp_path, "int4", images, no_score)
    before = sum(p.numel() for p in saved.model.parameters())
    count = 2 * (24 * 24 + 2 * 16 * 64) + 16 * 12 + 3 * 16
    state = load_file(tmp_path / "model.safetensors")
    codes = {key: tensor for key, tensor in state.items() if key.endswith(".codes")}
    assert sum(tensor.nbytes for tensor in codes.values()) == count // 2 + 8  # a head of three rows
    rest = sum(tensor.nbytes for key, tensor in state.items() if key not in codes)
    steps = 2 * (24 + 64 + 16) + 16 + 3
    assert 2 * (steps + before - count) <= rest < 2.3 * (steps + before - count)  # a few are not for 16 bits
    assert result.codes_bytes == sum(tensor.nbytes for tensor in codes.values())
    header = int.from_bytes((tmp_path / "model.safetensors").read_bytes()[:8], "little")
    assert result.after.bytes == count // 2 + 8 + rest + 8 + header
    assert 0 <= result.before.bytes - 4 * before < 6000


@pytest.mark.isa
def test_calibration_helps(saved, images):
    """The error over the calibration inputs is smaller."""
    name, weight = "blocks.1.channels.fn.fc1.weight", saved.model.blocks[1].channels.fn.fc1.weight.detach()
    inputs = []
    saved.model.blocks[1].channels.fn.fc1.register_forward_pre_hook(
        lambda _, args: inputs.append(args[0].flatten(0, 1))
    )
    logits(saved, images)
    x = inputs[0]
    errors = [((x @ (weight - quantize(weight, m).weight()).T) ** 2).mean() for m in (None, x.T @ x)]
    assert errors[1] < errors[0], name


def test_int8(saved, images, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    import onnx
    import onnxruntime

    outputs = []

    def score(network):
        assert network.has_classifier
        outputs.append(logits(network, images))
        return no_score(network)

    result = compress_saved(saved, tmp_path / "out", "int8", images, score)
    config = read_config(tmp_path / "out" / "model.json")
    assert isinstance(config, ExportedModelConfig)
    assert load(tmp_path / "out").ran[:2] == ("onnxruntime", "int8")
    assert (config.to, config.files, config.output, config.classes) == (
        "onnx",
        ("model.onnx",),
        "logits",
        saved.classes,
    )
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"compress.json", "model.json", "model.onnx"}
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])
    expected = logits(saved, images)
    for count in (1, 3, 40):
        inputs = normalize(images[:count], PREPROCESSING.mean, PREPROCESSING.std)
        compressed = torch.from_numpy(session.run(None, {"images": inputs.numpy()})[0])
        assert (compressed - expected[:count]).abs().max() < 0.15 * expected.std()
    assert 0 < config.difference < 0.15 * expected.std()
    torch.testing.assert_close(outputs[1], compressed)
    torch.testing.assert_close(outputs[0], expected)
    graph = onnx.load(tmp_path / "out" / "model.onnx").graph
    eight = sum(int(np.prod(t.dims)) for t in graph.initializer if t.data_type == onnx.TensorProto.INT8)
    assert eight >= sum(w.numel() for w in matrices(saved.model).values())
    thirty_two = [tuple(t.dims) for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
    assert max(int(np.prod(dims)) for dims in thirty_two) <= 64  # a bias of the MLP; the maps are two thin matrices
    readers = {name: node.op_type for node in graph.node for name in node.input}
    returned = [node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"]
    assert {readers[name] for name in returned} <= {"MatMul", "Gemm", "Conv"}  # all other nodes read 32 bits
    assert result.after.bytes == (tmp_path / "out" / "model.onnx").stat().st_size < result.onnx_bytes


@pytest.mark.slow
def test_int8_openvino(saved, images, tmp_path):
    """Its matrices are of 8 bits, its answers near those of fp32, and the folder is a model that runs as int8."""
    openvino = pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    result = compress_saved(saved, tmp_path / "out", "int8-openvino", images, no_score)
    names = {"compress.json", "model.json", "model.xml", "model.bin"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    predictor = load(tmp_path / "out")
    assert predictor.ran[:2] == ("openvino", "int8")
    expected = logits(saved, images)
    found = torch.from_numpy(predictor.logits(images.numpy()))
    errors = (found - expected).abs()
    assert 0 < errors.mean() < 0.15 * expected.std()
    assert errors.max() < 0.5 * expected.std()
    graph = openvino.Core().read_model(tmp_path / "out" / "model.xml")
    constants = [node for node in graph.get_ops() if node.get_type_name() == "Constant"]
    eight = sum(int(np.prod(node.shape)) for node in constants if node.get_element_type() == openvino.Type.i8)
    assert eight >= sum(w.numel() for w in matrices(saved.model).values())
    assert result.speedup > 0
    assert (
        result.after.bytes
        == (tmp_path / "out" / "model.bin").stat().st_size + (tmp_path / "out" / "model.xml").stat().st_size
    )
    with pytest.raises(UserError, match="^--precision fp32: this export to openvino"):
        load(tmp_path / "out", precision="fp32")


def test_int8_of_large_logits(saved, images, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    with torch.no_grad():
        saved.model.head.weight.mul_(1e5)
    expected = logits(saved, images)
    assert expected.abs().max() > 1e4
    outputs = []

    def score(network):
        outputs.append(logits(network, images))
        return no_score(network)

    compress_saved(saved, tmp_path / "out", "int8", images, score)
    assert 0 < (outputs[1] - expected).abs().max() < 0.15 * expected.std()
    monkeypatch.setattr(int8, "TOLERANCE", 0.0)
    with pytest.raises(UserError, match=r"the export in 32 bits differs by .* for logits up to .*--to int4"):
        compress_saved(saved, tmp_path / "other", "int8", images, no_score)
    with torch.no_grad():
        saved.model.head.bias[0] = torch.nan
    with pytest.raises(UserError, match="logits of the model are not finite"):
        compress_saved(saved, tmp_path / "other", "int8", images, no_score)
    assert not (tmp_path / "other").exists()


@pytest.mark.isa
def test_thin_factors():
    from resmlp.compression.int8 import thin_factors

    whole = (np.random.randn(30, 2) @ np.random.randn(2, 40)).astype(np.float32)
    left, right = thin_factors(whole)
    assert left.shape == (30, 2)
    errors = np.abs(left.astype(np.float64) @ right - whole)
    assert (errors <= gamma(2) * (np.abs(left) @ np.abs(right)) + int8.ROUNDING * np.linalg.norm(whole, 2)).all()
    assert thin_factors(np.random.randn(30, 40).astype(np.float32)) is None
    left, right = thin_factors(np.zeros((30, 40), np.float32))
    assert not (left @ right).any()


def test_mistakes(saved, images, tmp_path):
    with pytest.raises(UserError, match="unknown method 'int5' .did you mean"):
        compress_saved(saved, tmp_path / "out", "int5", images, no_score)
    with pytest.raises(UserError, match="the model is not a resmlp network"):
        compress_saved(replace(saved, model=torch.nn.Linear(3, 3)), tmp_path / "out", "int4", images, no_score)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="is a file"):
        compress_saved(saved, tmp_path / "file", "int4", images, no_score)
    with pytest.raises(UserError, match="did not write"):
        compress_saved(saved, tmp_path, "int4", images, no_score)
    with pytest.raises(UserError, match="cannot write"):
        compress_saved(saved, tmp_path / "file" / "below", "int4", images, no_score)
    compress_saved(saved, tmp_path / "out", "int4", images, no_score)
    compress_saved(saved, tmp_path / "out", "int4", images, no_score)
    with pytest.raises(UserError, match="holds the result of another method than --to 2:4"):
        compress_saved(saved, tmp_path / "out", "2:4", images, no_score)
    assert set(methods(0.5)) == {"int8", "int8-openvino", "int4", "pruned", "2:4"}


def test_an_interrupted_compression_leaves_nothing(saved, images, tmp_path):
    calls = []

    def score(saved):
        calls.append(saved)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return no_score(saved)

    with pytest.raises(KeyboardInterrupt):
        compress_saved(saved, tmp_path / "out", "int4", images, score)
    assert not (tmp_path / "out").exists()
