"""Profiles: rounds with a simulated clock, counts against torch, memory against known sizes."""

import json
import math
import statistics
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from resmlp.analysis.profiling import device as machine
from resmlp.analysis.profiling import profile as profiling
from resmlp.analysis.profiling.profile import Settings, explained, measure_networks, profile, speedups
from resmlp.analysis.profiling.published_results import (
    TABLE1,
    family,
    measured_points,
    published_points,
    published_top1,
)
from resmlp.analysis.profiling.results import Profile, Row
from resmlp.analysis.profiling.rounds import FEWEST, ROUNDS, Work, measure, spread
from resmlp.analysis.profiling.rss import measure_rss
from resmlp.analysis.profiling.subjects import Subject, blank, open_subject
from resmlp.analysis.profiling.tradeoff import tradeoff
from resmlp.config.preprocessing import Preprocessing
from resmlp.models import create_model, save_model
from resmlp.utils import hardware
from resmlp.utils.errors import UserError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> str:
    """The folder of a small network for images of 8x8, with random weights."""
    folder = tmp_path_factory.mktemp("small")
    save_model(folder, create_model("resmlp_digits", img_size=8, num_classes=10), (), Preprocessing((8, 8)))
    return str(folder)


class Machine:
    """Works of known duration on a simulated clock."""

    def __init__(self):
        self.now, self.joules, self.log = 0.0, 0.0, []

    def work(self, name: str, seconds, amount: float = 1.0, watts: float = 0.0) -> Work:
        """`seconds` of the first call, of the second, ...; the last value repeats."""

        def run() -> None:
            duration = seconds[min(self.log.count(name), len(seconds) - 1)]
            self.log.append(name)
            self.now += duration
            self.joules += duration * watts

        return Work(run, amount)


def in_turn(log: list[str]) -> list[str]:
    """The log without repetitions."""
    return [name for name, before in zip(log, [None, *log]) if name != before]


def test_spread_agrees_with_numpy():
    numbers = np.random.default_rng(0).normal(size=7)
    assert spread(list(numbers)) == pytest.approx(tuple(np.quantile(numbers, [0.5, 0.25, 0.75])))


def test_a_slow_first_call_does_not_count():
    simulated = Machine()
    (result,) = measure([simulated.work("a", [100.0, 0.25], amount=32)], 10.0, lambda: simulated.now)
    assert result.rates == [128.0] * ROUNDS
    assert result.rate == (128.0, 128.0, 128.0)
    assert result.joules == []


def test_works_take_turns_and_share_the_time():
    simulated = Machine()
    works = [simulated.work("a", [0.125]), simulated.work("b", [0.5]), simulated.work("c", [0.25])]
    measure(works, 10.0, lambda: simulated.now)
    assert in_turn(simulated.log) == list("abc") * (1 + ROUNDS), "the warm-up, then each once a round"
    per_round = [(simulated.log.count(name) - ROUNDS) // (1 + ROUNDS) for name in "abc"]
    assert per_round == [8, 2, 4], "a second each, without the call that refills the caches"


def test_slow_works_get_fewer_rounds_of_one_call():
    simulated = Machine()
    results = measure([simulated.work("a", [60.0]), simulated.work("b", [30.0])], 3.0, lambda: simulated.now)
    assert [len(each.rates) for each in results] == [FEWEST, FEWEST]
    assert simulated.log.count("a") == 2 + 2 * FEWEST
    assert [each.rate.median for each in results] == [1 / 60, 1 / 30]


def test_median_and_quartiles_of_rounds_that_differ():
    simulated = Machine()
    durations = [9.0, 1.0, 7.0, 1.0, 7.0, 2.0, 7.0, 4.0]  # two calls of warm-up, then three rounds, each after a call
    (result,) = measure([simulated.work("a", durations, amount=8)], 1.0, lambda: simulated.now)
    assert result.rates == [8.0, 4.0, 2.0]
    assert result.rate == (4.0, 3.0, 6.0)


def test_energy_is_counted_in_the_turns_of_a_work():
    simulated = Machine()
    works = [simulated.work("a", [0.5], amount=4, watts=100), simulated.work("b", [0.5], amount=4, watts=300)]
    results = measure(works, 5.0, lambda: simulated.now, lambda: simulated.joules)
    assert [set(each.joules) for each in results] == [{12.5}, {37.5}]


MACS_OF = ["mixer_s32", "resmlp_s12_sepconv", "timm:resmlp_12_224", "timm:vit_tiny_patch16_224"]


@pytest.mark.parametrize("name", MACS_OF)
def test_macs_are_half_of_the_flops_counted_by_torch(name):
    subject = open_subject(name)
    with FlopCounterMode(display=False) as counter:
        subject.model(torch.rand(1, 3, *subject.size))
    assert subject.macs() == counter.get_total_flops() // 2 > 0


def test_a_profile_agrees_with_the_network(monkeypatch, small):
    monkeypatch.setitem(machine.SIDE, "cpu", 64)
    monkeypatch.setattr(profiling, "measure_rss", lambda model, batches, *rest: dict.fromkeys(batches, 7))
    models = [small, small + "/model.safetensors"]
    result = profile([small, *models], batch=(1, 3), seconds=0.05, device="cpu")
    assert [(row.model, row.batch) for row in result.rows] == [(model, batch) for model in models for batch in (1, 3)]
    for row in result.rows:
        assert row.parameters == sum(p.numel() for p in open_subject(row.model).model.parameters())
        assert row.images_per_s == pytest.approx(statistics.median(row.rounds))
        assert row.quartiles[0] <= row.images_per_s <= row.quartiles[1]
        assert (row.memory, row.joules, row.backend) == (7, None, "torch")
        assert 0 < row.matmul_share < math.inf
    assert (result.device, result.threads) == ("cpu", torch.get_num_threads())


@pytest.mark.parametrize("backend", ["torch", "compile", "openvino"])
def test_a_precision_that_this_cpu_lacks_is_refused(monkeypatch, backend):
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset({"avx2"}))
    if backend == "openvino":
        pytest.importorskip("openvino")
    with pytest.raises(UserError, match=rf"^--precision bf16: --backend {backend} on this cpu \(avx2\) has fp32 "):
        profile("resmlp_digits", precision="bf16", device="cpu", backend=backend)


@pytest.mark.parametrize(
    ("flags", "backends", "precision"),
    [
        ({"avx2"}, ("torch",), "fp32"),
        ({"avx512_bf16"}, ("torch", "openvino"), "bf16"),
        ({"avx512_bf16"}, ("torch", "onnx"), "fp32"),
    ],
)
def test_auto_is_the_lowest_precision_of_the_device_and_all_backends(monkeypatch, flags, backends, precision):
    asked = []
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset(flags))
    monkeypatch.setattr(profiling, "Settings", lambda *given: asked.append(given))
    with pytest.raises(AttributeError):  # what measures with these settings
        profiling.profile("resmlp_digits", precision="auto", device="cpu", backend=backends)
    assert asked[0][2] == precision


def test_the_precision_of_weights_and_images(monkeypatch):
    seen = []
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset({"avx512_bf16"}))

    class Spy(torch.nn.Linear):
        def forward(self, x):
            seen.append((x.dtype, self.weight.dtype, x.requires_grad, torch.is_inference_mode_enabled()))
            return super().forward(x)

    monkeypatch.setitem(machine.SIDE, "cpu", 64)
    monkeypatch.setattr(profiling, "measure_rss", lambda *rest: {})
    monkeypatch.setattr(profiling, "open_subject", lambda name, *size: Subject(name, Spy(4, 2).eval(), (4, 4)))
    (row,) = measure_networks(["x"], Settings(CPU, (2,), "bf16", seconds=0.01)).rows
    assert row.macs == 3 * 4 * 4 * 2
    assert row.memory is None
    assert set(seen[1:]) == {(torch.bfloat16, torch.bfloat16, False, True)}


def row(model: str, rounds: tuple[float, ...], batch: int = 1, backend: str = "torch") -> Row:
    return Row(model, backend, batch, 1, 1, statistics.median(rounds), rounds[:2], rounds, 0.5, None, None)


def test_speedups_pair_the_rounds():
    rows = (row("a", (10, 2, 30)), row("b", (5, 4, 10)), row("a", (3, 3, 3), batch=8))
    result = Profile(rows, "", "cpu", "fp32", 1, 1.0, "")
    assert speedups(result, "b") == [2.0, 1.0, None], "medians of (2, 0.5, 3) and of 1; b has no row at batch 8"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "needs more memory than is available"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "needs more memory than is available"),
        (MemoryError(), "needs more memory than is available"),
        (RuntimeError("not implemented\nfor 'BFloat16'"), "cannot run: not implemented for 'BFloat16'"),
    ],
)
def test_errors_of_a_network_are_one_line(error, message):
    with pytest.raises(UserError, match=message), explained("x at --batch 9"):
        raise error


def test_an_unknown_backend():
    with pytest.raises(UserError, match="unknown backend 'compiel' .did you mean compile"):
        profile("resmlp_digits", device="cpu", backend="compiel")


def test_the_energy_meter_is_nvml_or_none(monkeypatch):
    class NVMLError(Exception):
        pass

    def no_counter(handle):
        raise NVMLError

    used = iter([1_000, 2_500])
    nvml = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: {"GPU-u": next(used)}[handle],
    )
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="u"))
    assert machine.energy_meter(CPU, nvml) is None
    meter = machine.energy_meter(torch.device("cuda"), nvml)
    assert meter is not None
    assert meter() == 2.5
    nvml.nvmlDeviceGetTotalEnergyConsumption = no_counter
    assert machine.energy_meter(torch.device("cuda"), nvml) is None


def test_tf32_is_off_and_restored_afterwards():
    before = torch.backends.cudnn.conv.fp32_precision
    with machine.exact_fp32():
        assert torch.backends.cudnn.conv.fp32_precision == torch.backends.cuda.matmul.fp32_precision == "ieee"
    assert torch.backends.cudnn.conv.fp32_precision == before


def test_the_matrix_product(monkeypatch):
    monkeypatch.setitem(machine.SIDE, "cpu", 8)
    work = machine.matmul(CPU, torch.float32)
    assert work.amount == 2 * 8**3
    assert isinstance(out := work.run(), torch.Tensor)
    assert out.shape == (8, 8)


GROWTH = """
from resmlp.analysis.profiling.rss import growth
kept = []
def build():
    kept.append(bytearray(b"x") * (64 << 20))   # kept, as weights are
    gone = bytearray(b"x") * (256 << 20)        # only during the build
    del gone
    yield lambda: None
    yield lambda: bytearray(b"x") * (128 << 20)
print(*growth(build))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can reset the peak")
def test_memory_grows_by_what_is_allocated():
    ended = subprocess.run([sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True)
    kept, used = (int(number) / 2**20 for number in ended.stdout.split())
    assert kept == pytest.approx(64, abs=4)
    assert used == pytest.approx(64 + 128, abs=4)


def test_the_memory_of_a_network_is_that_of_its_weights_and_activations():
    memory = measure_rss("resmlp_s12", [4, 1, 4], "fp32", 1)
    assert list(memory) == [1, 4]
    weights = 15_350_872 * 4
    hidden = 196 * 4 * 384 * 4  # bytes of an image inside the MLP; two such tensors exist at once
    assert weights + 2 * hidden < memory[1] < weights + 40e6
    assert weights + 4 * (2 * hidden + 3 * 224**2 * 4) < memory[4] < weights + 4 * 6 * hidden + 40e6


def test_a_batch_too_large_for_the_memory_is_named(small):
    with pytest.raises(UserError, match="--batch 1000000000000: .* needs more memory than is available"):
        measure_rss(small, [1, 10**12], "fp32", 1)


def test_images_are_seeded():
    images = blank(2, (3, 5), CPU, torch.float32)
    assert images.shape == (2, 3, 3, 5)
    assert torch.equal(images, blank(2, (3, 5), CPU, torch.float32))
    assert images.std() > 0.5


def test_a_translator_is_refused(translator_run):
    with pytest.raises(UserError, match="translates text"):
        open_subject(str(translator_run))


def test_published_accuracies():
    assert published_top1("resmlp_s12") == published_top1("timm:resmlp_12_224") == 0.766
    assert published_top1("resmlp_s24.fb_distilled_in1k") == 0.808
    assert published_top1("timm:deit_small_patch16_224") == 0.798
    assert published_top1("timm:cait_xs24_384") is None, "the paper has it at 224"
    assert published_top1("runs/x") is None
    assert published_top1("resmlp_s12.nobody") is None
    printed = [row.values[-1] for row in TABLE1.rows]
    assert [100 * (point.top1 or 0) for point in published_points()] == pytest.approx(printed)
    assert {point.name: point.family for point in published_points()}["DeiT-S"] == "transformer"
    assert [family(name) for name in ("resmlp_s12.fb_in1k", "timm:regnety_160", "runs/x")] == [
        "feedforward",
        "convolutional",
        "other",
    ]


@pytest.mark.parametrize("top1", [0.766, None])
def test_the_trade_off_is_drawn(tmp_path, top1):
    rows = [
        replace(row(name, (speed * 0.9, speed * 1.1, speed), batch), top1_published=top1)
        for name, batch, speed in (("resmlp_s12", 1, 12.0), ("runs/$x_1$", 32, 19.0))
    ]
    points = measured_points(rows)
    assert [point.name for point in points] == ["resmlp_s12 (1)", "runs/$x_1$ (32)"]
    tradeoff(published_points(), points, "a machine", tmp_path / "tradeoff.png")
    drawing = (tmp_path / "tradeoff.svg").read_text()
    assert (tmp_path / "tradeoff.png").stat().st_size > 10_000
    assert drawing.startswith("<?xml")


def test_a_profile_as_json_and_as_text():
    rows = (row("a", (1.0, 2.0, 3.0)), replace(row("b", (1.0, 2.0, 3.0)), speedup={"a": 1.0}, top1_published=0.8))
    result = Profile(rows, "a machine", "cpu", "fp32", 1, 1.0, "")
    values = result.to_dict()
    assert json.loads(json.dumps(values)) == values
    assert values["rows"][0]["rounds"] == [1, 2, 3]
    assert ["speedup" in each for each in values["rows"]] == [False, True]
    rows_without = Profile(rows[:1], "a machine", "cpu", "fp32", 1, 1.0, "")
    assert "images/s" in str(rows_without)
    assert "J/image" not in str(rows_without), "empty columns are left out"
