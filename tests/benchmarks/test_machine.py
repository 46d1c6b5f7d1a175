"""What benchmarks record of the machine: against texts of /proc/cpuinfo written by hand, and against torch."""

import ast
import os
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
INTEL = """processor\t: 0
model name\t: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz
flags\t\t: fpu sse4_2 avx f16c avx2 fma avx512f avx512dq avx512_bf16 avx512_vnni avx_vnni amx_bf16 amx_tile amx_int8
vmx flags\t: vnmi
processor\t: 1
model name\t: another
"""
ARM = "processor\t: 0\nBogoMIPS\t: 2100.00\nFeatures\t: fp asimd crc32 asimddp sve i8mm bf16\n"
EPYC = "model name : AMD EPYC\nflags : avx avx2 fma avx5 xavx512f\n"


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import machine

    return machine


@pytest.mark.parametrize(
    ("info", "sets", "cpu"),
    [
        (
            INTEL,
            "amx_bf16 amx_int8 amx_tile avx2 avx512_bf16 avx512_vnni avx512f avx_vnni fma",
            "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz",
        ),
        (ARM, "asimd asimddp bf16 i8mm sve", None),
        (EPYC, "avx2 fma", "AMD EPYC"),
        ("model name : Old\nflags : sse2\n", "", "Old"),
        ("", None, None),
    ],
)
def test_the_record_of_a_machine(info, sets, cpu, module, monkeypatch, tmp_path):
    path = tmp_path / "cpuinfo"
    if info:
        path.write_text(info)
    monkeypatch.setattr(module, "CPUINFO", path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = module.machine()
    assert found.keys() == {"cpu", "instruction_sets", "cores", "threads"}
    assert found["instruction_sets"] == (None if sets is None else sets.split())
    assert found["cpu"] == cpu or cpu is None
    assert found["threads"] == torch.get_num_threads()
    assert 1 <= found["cores"] <= os.cpu_count()


@pytest.mark.skipif(not hasattr(torch.cpu, "get_capabilities"), reason="this torch does not list instruction sets")
@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="no /proc/cpuinfo")
def test_torch_finds_the_same_sets(module):
    known = torch.cpu.get_capabilities()
    found = module.machine()["instruction_sets"]
    for name, other in (("avx2", "avx2"), ("avx512f", "avx512_f"), ("amx_bf16", "amx_bf16"), ("avx_vnni", "avx_vnni")):
        assert (name in found) == known.get(other, False), name


def test_versions_of_the_peers(module):
    found = module.versions("timm", "no-such-package")
    assert found["torch"] == torch.__version__
    assert found["timm"] == version("timm")
    assert found["no-such-package"] == "absent"


def test_a_gpu_is_named(module, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    assert module.machine()["gpu"] == "NVIDIA H200"


def writers() -> list[Path]:
    """The benchmarks that describe a result: a dictionary with `numbers` and `target`."""
    return [path for path in sorted(BENCHMARKS.glob("*.py")) if '"target"' in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", writers(), ids=lambda path: path.stem)
def test_every_benchmark_records_its_conditions_in_this_form(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "conditions"]
    assert len(calls) == 1
    keys = {
        key.value for n in ast.walk(tree) if isinstance(n, ast.Dict) for key in n.keys if isinstance(key, ast.Constant)
    }
    assert not keys & {"machine", "threads", "cores"}


def test_there_are_writers():
    assert len(writers()) > 15
