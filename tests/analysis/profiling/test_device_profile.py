"""The benchmark of accelerators, on the CPU with a tiny network and with prepared rates."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from resmlp.analysis.profiling.rounds import Measured

ROOT = Path(__file__).resolve().parents[3]
TINY = {"img_size": 32, "dim": 32, "depth": 1, "num_classes": 10, "patch_size": 8}


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import accelerator

    monkeypatch.setattr("resmlp.analysis.profiling.device.SIDE", {"cpu": 32})
    return accelerator


def test_the_whole_benchmark_on_the_cpu(benchmark):
    compile = lambda network: lambda images: network(images)  # noqa: E731
    result = benchmark.run(benchmark.pair("resmlp_s12", **TINY), [2, 3], 4, torch.device("cpu"), 1e-3, compile)
    ways = {"timm eager", "timm compile", "ours eager", "ours compile"}
    assert result["inference"].keys() == {"2", "3"}
    assert result["training"].keys() == {"4"}
    for rows in (*result["inference"].values(), *result["training"].values()):
        assert rows.keys() == ways | {"matmul"}
        for name in ways:
            middle, low, high = rows[name]["images_per_s"]
            assert 0 < low <= middle <= high
            assert ("over_timm_compile" in rows[name]) == (name != "timm compile")
    assert benchmark.numbers({"x": result}) == {}  # no row at the batch size of the claim


@pytest.mark.isa
@torch.no_grad()
def test_both_networks_are_equal(benchmark):
    both, images = benchmark.pair("resmlp_b24", **TINY), torch.randn(2, 3, 32, 32)
    outputs, expected = (network.double()(images.double()) for network in (both.ours, both.theirs))
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-11)


def test_a_training_step_changes_all_parameters(benchmark):
    both, images = benchmark.pair("resmlp_s12", **TINY), torch.randn(4, 3, 32, 32)
    runs = benchmark.training(both, images, None)
    before = [parameter.clone() for parameter in both.ours.parameters()]
    runs["ours eager"]()
    assert not any(torch.equal(*each) for each in zip(before, both.ours.parameters()))
    assert all(parameter.grad is None for parameter in both.ours.parameters())


def test_shares_and_ratios(benchmark, monkeypatch):
    """Prepared rates of two rounds: images per second, and operations per second of the product, which is last."""
    rates = {"timm compile": [10.0, 10], "ours eager": [20.0, 40], "matmul": [100.0, 200]}
    monkeypatch.setattr(benchmark, "measure", lambda *_: [Measured(each, []) for each in rates.values()])
    runs = dict.fromkeys(list(rates)[:-1], lambda: None)
    rows = benchmark.race(runs, runs, 2, 2.0, torch.device("cpu"), 1)
    assert rows["ours eager"] == {
        "images_per_s": [30, 25, 35],
        "of_matmul": [0.4, 0.4, 0.4],
        "over_timm_compile": [3, 2.5, 3.5],
    }
    assert rows["matmul"] == {"flops": [150, 125, 175]}


def test_the_best_row_is_claimed(benchmark):
    def row(rate: float, ratio: float, share: float) -> dict:
        return {"images_per_s": [rate] * 3, "over_timm_compile": [ratio] * 3, "of_matmul": [share] * 3}

    rows = {"ours eager": row(2, 1.1, 0.3), "ours kernels": row(3, 1.6, 0.5), "ours fp8": row(4, 2, 0.7)}
    rows |= {"timm eager": row(9, 9, 9), "matmul": {"flops": [1, 1, 1]}}
    numbers = benchmark.numbers({"s12": {"inference": {"256": rows}, "training": {"256": rows}}})
    assert numbers == {
        "s12 over_timm_compile": 1.6,
        "s12 of_matmul": 0.5,
        "s12 training_over_timm_compile": 1.6,
        "s12 training_of_matmul": 0.5,
    }
    assert benchmark.missed(numbers) == ["s12 of_matmul"]


def test_results_of_the_same_machine_are_merged(benchmark, tmp_path):
    path, conditions = tmp_path / "accelerator.json", {"machine": "a", "versions": {"torch": "1"}}
    assert benchmark.joined(path, {"new": 1}, conditions) == {"new": 1}
    path.write_text(json.dumps({"networks": {"old": 2, "new": 0}} | conditions))
    assert benchmark.joined(path, {"new": 1}, conditions) == {"old": 2, "new": 1}
    assert benchmark.joined(path, {"new": 1}, conditions | {"machine": "b"}) == {"new": 1}


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is available")
def test_without_a_gpu(benchmark, capsys, tmp_path):
    assert benchmark.main(["--out", str(tmp_path / "x.json")]) == 2
    assert capsys.readouterr().err.startswith("error: this needs a CUDA device")
    assert not (tmp_path / "x.json").exists()


def test_operations_and_bytes_of_a_layer(benchmark):
    """S12 with one image: N 196, D 384, hidden 1536, two bytes for each number."""
    parts = {name: rest for name, *rest in benchmark.layer(benchmark.ARCHITECTURES["resmlp_s12"], 196, 1)}
    operations, moved, _ = parts["token sublayer, Triton kernel"]
    assert operations == 2 * 196 * 196 * 384
    assert moved == 2 * (2 * 196 * 384 + 196 * 196 + 196 * 384)
    operations, moved, _ = parts["channel MLP, Triton kernel"]
    assert operations == 2 * 2 * 196 * 384 * 1536
    assert moved == 2 * (2 * 196 * 384 + 2 * 384 * 1536)


def test_docs_have_the_table(benchmark):
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert benchmark.count() in page


SCRIPT = """
import json, sys, torch
sys.path.insert(0, {folder!r})
import accelerator
from resmlp.models.folding import fold
both = accelerator.pair("resmlp_s12", **{tiny!r})
print(json.dumps(accelerator.errors(fold(both.ours.half()), 2)))
"""


def test_errors(benchmark):
    """In Triton's interpreter, which must be selected before the import of triton."""
    pytest.importorskip("triton")
    script = SCRIPT.format(folder=str(ROOT / "benchmarks"), tiny=TINY)
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    errors = json.loads(done.stdout)
    assert errors["tokens"]["kernels"] == errors["tokens"]["fp8"] < 1.5 * errors["tokens"]["torch"]
    assert errors["channels"]["kernels"] < 1.5 * errors["channels"]["torch"] < 1e-3
    assert errors["channels"]["kernels"] < errors["channels"]["fp8"] < 0.05
