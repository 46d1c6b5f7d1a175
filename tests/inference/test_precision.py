"""Precisions of inference: what runs, that its answers are kept, and what the hardware does not have."""

from copy import deepcopy

import numpy as np
import pytest
import torch

import resmlp
from resmlp.backends.check_images import check_images
from resmlp.cli.main import main
from resmlp.config.precision import Execution, Ran
from resmlp.config.preprocessing import Preprocessing
from resmlp.exporters.lowering import lower
from resmlp.hub.resolve import resolve
from resmlp.inference import TorchPredictor, load
from resmlp.inference.model_kinds import load_source
from resmlp.inference.runners import in_chunks, in_precision, make_engines
from resmlp.models import Saved, create_model, save_model
from resmlp.models.folding import fold
from resmlp.utils import hardware
from resmlp.utils.errors import UserError

LOOK, CLASSES, CPU = Preprocessing((16, 16)), ("ant", "bee", "cat"), torch.device("cpu")
AMX, AVX2 = frozenset({"avx2", "avx512f", "avx512_bf16", "amx_bf16"}), frozenset({"avx2"})


@pytest.fixture(scope="module")
def saved() -> Saved:
    """With gains and biases of which rounding would be seen."""
    torch.manual_seed(0)
    model = create_model("resmlp_digits", img_size=16, num_classes=3, init="fan-in", depth=2).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("alpha", "gamma")):
                parameter.uniform_(0.5, 1.5)
            elif name.endswith(("beta", "bias")):
                parameter.normal_(std=0.3)
    return Saved(model, CLASSES, LOOK)


@pytest.fixture(scope="module")
def folder(saved, tmp_path_factory):
    place = tmp_path_factory.mktemp("model")
    save_model(place, saved.model, CLASSES, LOOK)
    return place


@pytest.fixture(params=[AMX, AVX2], ids=["amx", "avx2"])
def flags(request, monkeypatch) -> frozenset[str]:
    return use(request.param, monkeypatch)


def use(flags, monkeypatch) -> frozenset[str]:
    monkeypatch.setattr(hardware, "cpu_flags", lambda: flags)
    return flags


def test_few_images_are_in_fp32_by_torch(folder, saved, monkeypatch):
    """To the bit, on any CPU: nothing is measured for them."""
    use(AMX, monkeypatch)
    images = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8)
    few = load_source(resolve(folder), Execution("cpu", None, "auto", images=5))
    assert torch.equal(few.logits(images), TorchPredictor(saved, CPU).logits(images))
    assert few.ran == Ran("torch", "fp32", "avx512f")


def test_auto_measures_what_the_hardware_has(saved, flags):
    engines = make_engines(saved.model, (16, 16), "auto", Execution(precision="auto"), hardware.cpu_precisions())
    found = {(engine.name, engine.precision) for engine in engines}
    bf16 = {("folded", "bf16"), ("openvino", "bf16")} if flags == AMX else set()
    assert found == {("folded", "fp32"), ("onnxruntime", "fp32"), ("openvino", "fp32")} | bf16
    assert engines[0].precision == "fp32"


def test_bf16_keeps_the_answers(folder, monkeypatch):
    """Of random images: the answers of the rounded network are those of fp32, and the first engine's without doubt."""
    use(AMX, monkeypatch)
    images = np.concatenate(list(check_images((16, 16)))[:4])
    pixels = torch.from_numpy(np.clip(64 * images + 128, 0, 255).astype(np.uint8))
    exact, rounded = (load(folder, "cpu", "torch", precision) for precision in ("fp32", "bf16"))
    ours, theirs = exact.logits(pixels), rounded.logits(pixels)
    assert 0 < (ours - theirs).abs().max() < 0.02 * (ours.max() - ours.min())
    assert rounded.ran == Ran("torch", "bf16", "amx_bf16")
    assert repr(rounded) == "TorchPredictor(resmlp_digits, 16x16, 3 classes, cpu, bf16)"
    assert torch.equal(rounded.logits(pixels), theirs)  # the same again


def test_scales_are_folded_before_rounding(saved):
    """The weights are those of the folded network, rounded once; rounding scales and matrices apart is further off."""
    once = in_precision(saved.model, "bf16").network.state_dict()
    exact = lower(fold(saved.model)).state_dict()
    assert all(torch.equal(once[name], exact[name].bfloat16()) for name in exact)
    images = torch.from_numpy(next(check_images((16, 16))))
    apart = deepcopy(saved.model).bfloat16()
    reference = saved.model(images)
    worst = [
        (run - reference).abs().mean() for run in (in_precision(saved.model, "bf16")(images), apart(images.bfloat16()))
    ]
    assert worst[0] < worst[1]


def test_auto_says_what_it_is(folder, monkeypatch):
    use(AMX, monkeypatch)
    predictor = load(folder, "cpu", "auto")
    for _ in range(60):
        predictor.logits(torch.zeros(2, 3, 16, 16, dtype=torch.uint8))
    backend, precision, unit = predictor.ran
    assert backend in ("folded", "onnxruntime", "openvino")
    assert (precision, unit) in (("fp32", "avx512f"), ("bf16", "amx_bf16"))


def test_features(folder, monkeypatch):
    use(AMX, monkeypatch)
    pixels = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8)
    exact, rounded = (load(folder, "cpu", precision=precision).features(pixels) for precision in ("fp32", "bf16"))
    assert 0 < (exact - rounded).abs().max() < 0.03 * (exact.max() - exact.min())
    assert load(folder, "cpu", precision="auto").feature_precision in ("fp32", "bf16")


@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_an_export_records_its_precision(folder, tmp_path, to, monkeypatch):
    """`auto` takes what is recorded where the CPU has it, without measuring; a CPU without it runs fp32."""
    pytest.importorskip("openvino")
    use(AMX, monkeypatch)
    if to == "onnx":
        with pytest.raises(UserError, match="^--precision bf16: an export to onnx on this cpu has fp32"):
            resmlp.export(folder, to, tmp_path / "out", precision="bf16")
        return
    result = resmlp.export(folder, to, tmp_path / "out", precision="bf16")
    assert result.precision == "bf16"
    assert result.agreement.startswith("top-1 agrees on ")
    assert load(tmp_path / "out").ran.precision == "bf16"
    assert load(tmp_path / "out", precision="fp32").ran.precision == "fp32"
    use(AVX2, monkeypatch)
    assert load(tmp_path / "out", precision="auto").ran == Ran("openvino", "fp32", "avx2")
    with pytest.raises(UserError, match=r"^--precision bf16: this export to openvino on this cpu \(avx2\) has fp32"):
        load(tmp_path / "out", precision="bf16")


def test_export_auto(folder, tmp_path, flags):
    """It has a precision that the CPU has, and an agreement where that is not fp32."""
    pytest.importorskip("openvino")
    result = resmlp.export(folder, "openvino", tmp_path / "out", precision="auto", with_preprocessing=True)
    assert result.precision in hardware.cpu_precisions()
    assert bool(result.agreement) == (result.precision != "fp32")


@pytest.mark.parametrize("verb", ["predict", "eval", "embed", "translate", "export", "compress"])
def test_a_precision_that_is_not_there_is_one_line(verb, folder, photo, translator_run, tmp_path, monkeypatch, capsys):
    use(AVX2, monkeypatch)
    for name in ("ant", "bee", "cat"):
        for part in ("train", "val"):
            (tmp_path / part / name).mkdir(parents=True)
            photo.save(tmp_path / part / name / f"{part}.png")
    image, tree = tmp_path / "val" / "ant" / "val.png", str(tmp_path)
    arguments = {
        "predict": [folder, image],
        "eval": [folder, "--data.root", tree, "--data.workers", "0"],
        "embed": [folder, tmp_path / "val", "--out", tmp_path / "x.npy"],
        "translate": [translator_run, "--json"],
        "export": [folder, "--out", tmp_path / "out"],
        "compress": [folder, "--to", "int4", "--data.root", tree, "--data.workers", "0", "--out", tmp_path / "small"],
    }[verb]
    device = ["--device", "cpu"] * (verb != "export")
    assert main([verb, *map(str, arguments), "--precision", "bf16", *device]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert line.startswith("error: --precision bf16: ")
    assert " has fp32" in line


def test_predict_names_what_ran(folder, photo, tmp_path, monkeypatch, capsys):
    import json

    use(AMX, monkeypatch)
    photo.save(tmp_path / "x.png")
    assert main(["predict", str(folder), str(tmp_path / "x.png"), "--device", "cpu", "--json"]) == 0
    ran = json.loads(capsys.readouterr().out)["ran_by"]
    assert ran == {"backend": "torch", "precision": "fp32", "instruction_set": "avx512f"}
    assert main(["predict", str(folder), str(tmp_path / "x.png"), "--device", "cpu", "--precision", "bf16"]) == 0
    assert "ran by torch, bf16 (amx_bf16)\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("images", "size", "expected"),
    [
        (20, (224, 224), [8, 8, 4]),
        (8, (224, 224), [8]),
        (1, (224, 224), [1]),
        (0, (8, 8), [0]),
        (40, (32, 32), [32, 8]),
        (3, (999, 999), [1] * 3),
    ],
)
def test_torch_sees_as_many_images_as_fit_into_the_caches(images, size, expected):
    seen = []

    def network(part):
        seen.append(len(part))
        return part[:, :, 0, 0]

    pixels = torch.arange(images * 3.0).view(images, 3, 1, 1).expand(-1, -1, *size)
    assert torch.equal(in_chunks(network, pixels), pixels[:, :, 0, 0])
    assert seen == expected
