"""Triton kernels through its interpreter against float64, and through its compiler for an H200, which needs no GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile  # noqa: A004

from resmlp.nn import kernels

HALF = 2.0**-11  # of the largest number: what rounding an fp16 output may do, and bf16 eight times as much


@pytest.fixture(scope="module")
def found() -> dict:
    script = Path(__file__).with_name("kernels_interpreted.py")
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.isa
@pytest.mark.parametrize("kernel", ["token_mix", "channel_mlp"])
def test_products_are_as_exact_as_their_outputs_allow(found, kernel):
    for case, (error, eager) in found[kernel].items():
        # the interpreter cuts bf16 off where a GPU rounds
        assert error < (16 * HALF if "bf16" in case or case == "no bias" else max(1.5 * eager, HALF)), case


@pytest.mark.isa
def test_eight_bits(found):
    """Four roundings to e4m3, whose errors are independent, make twice the error of one."""
    for case, (error, rounding) in found["channel_mlp8"].items():
        assert 0.015 < rounding < 0.03, case
        assert error < 2.2 * rounding, case


@pytest.mark.isa
def test_a_whole_network(found):
    for case, network in found["network"].items():
        error, eager = network["errors"]
        assert error < (8 if case == "bf16" else 1.5) * eager, case
        assert network["traced"] == 0
        assert "ChannelMlp" not in network["parts"] or error < network["eight"] < 0.1
        assert not network["left"]


def test_what_does_not_fit_stays_with_torch(found):
    assert found["network"]["fp16"]["parts"] == ["TokenMix", "ChannelMlp"] * 2
    assert found["network"]["narrow"]["parts"] == ["TokenMix", "FoldedSublayer"] * 2


def test_torch_knows_them(found):
    assert set(found["opcheck"].values()) == {"SUCCESS"}


@pytest.mark.parametrize(("dim", "hidden", "fits"), [(384, 1536, True), (768, 3072, True), (1024, 4096, False)])
def test_widths(dim, hidden, fits):
    assert kernels.fits_mlp(dim, hidden) == fits
    assert not kernels.fits_mlp(dim + 8, hidden)


@pytest.mark.parametrize("dtype", [torch.bfloat16, kernels.FP8])
@pytest.mark.parametrize("dim", [32, 192, 384, 768])
def test_there_is_always_a_block(dim, dtype):
    given = {"w1": torch.empty(0, dtype=dtype)}
    left = kernels.fitting(kernels.mlp_configs(), given, DIM=dim, HIDDEN=4 * dim)
    assert left
    assert all(4 * dim % config.kwargs["STEP"] == 0 for config in left)
    blocks = [(config.kwargs["ROWS"], config.kwargs["STEP"], config.num_stages) for config in left]
    assert all(kernels.shared_bytes(dim, *block, dtype.itemsize) <= kernels.SHARED for block in blocks)


def compiled(kernel, constants: dict, others: dict, warps: int, stages: int):
    """For an H200, as pointers to bf16 and 32-bit sizes that are multiples of 16."""
    kinds = {name: "constexpr" if name in constants else others.get(name, "*bf16") for name in kernel.arg_names}
    aligned = {
        (i,): [["tt.divisibility", 16]]
        for i, (name, kind) in enumerate(kinds.items())
        if kind[0] == "*" or name in ("dim", "width", "bias_row")
    }
    source = ASTSource(kernel, kinds, constexprs=constants, attrs=aligned)
    return compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps, "num_stages": stages})


def test_token_mix_compiles():
    sizes = dict.fromkeys(("tokens", "dim", "width", "bias_row", "images"), "i32")
    constants = {"GAIN": True, "BIAS": True, "ROWS": 128, "COLUMNS": 64, "STEP": 64}
    made = compiled(kernels._token_mix_kernel, constants, sizes, 4, 3)
    assert made.metadata.shared <= kernels.SHARED
    assert "wgmma" in made.asm["ptx"]


@pytest.mark.parametrize(("eight", "rows", "step", "warps"), [(False, 128, 32, 8), (True, 64, 64, 8)])
def test_channel_mlp_compiles_within_the_memory_that_was_counted(eight, rows, step, warps):
    kinds = {"rows": "i32", "filled": "i32"}
    if eight:
        kinds |= {"w1": "*fp8e4nv", "w2": "*fp8e4nv", "scale1": "*fp32", "scale2": "*fp32"}
    constants = {"DIM": 384, "HIDDEN": 1536, "CHUNK": 128, "EIGHT": eight, "ROWS": rows, "STEP": step}
    made = compiled(kernels._channel_mlp_kernel, constants, kinds, warps, 2)
    counted = kernels.shared_bytes(384, rows, step, 2, 1 if eight else 2)
    assert 0.8 * counted < made.metadata.shared <= counted
    assert "wgmma" in made.asm["ptx"]
