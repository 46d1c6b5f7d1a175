"""What a CPU multiplies, from the names that Linux has for its instruction sets."""

import platform

import pytest

from resmlp.utils import hardware

SAPPHIRE_RAPIDS = {"sse4_2", "avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8"}
ICE_LAKE = {"sse4_2", "avx2", "avx512f", "avx512_vnni"}
HASWELL = {"sse4_2", "avx2"}
GRAVITON3 = {"asimd", "asimddp", "bf16", "i8mm"}


@pytest.mark.parametrize(
    ("flags", "names", "precisions"),
    [
        (SAPPHIRE_RAPIDS, ("avx512f", "amx_bf16", "amx_int8"), ("fp32", "bf16")),
        (ICE_LAKE, ("avx512f", None, "avx512_vnni"), ("fp32",)),
        (HASWELL, ("avx2", None, "avx2"), ("fp32",)),
        (GRAVITON3, ("asimd", "bf16", "i8mm"), ("fp32", "bf16")),
        (set(), (None, None, None), ("fp32",)),
    ],
)
def test_sets_and_precisions(monkeypatch, flags, names, precisions):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset(flags))
    found = tuple(hardware.instruction_set(precision) for precision in ("fp32", "bf16", "int8"))
    assert found == tuple(name or platform.machine() for name in names)
    assert hardware.device_precisions("cpu") == precisions
    assert hardware.device_precisions("cuda") == ("fp32", "bf16")
    assert hardware.device_precisions("mps") == ("fp32",)


def test_a_limit_of_onednn_counts(monkeypatch):
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset(SAPPHIRE_RAPIDS))
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_VNNI")
    assert hardware.device_precisions("cpu") == ("fp32",)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_AMX")
    assert hardware.device_precisions("cpu") == ("fp32", "bf16")


def test_the_flags_of_this_machine():
    assert all(flag.isprintable() and " " not in flag for flag in hardware.cpu_flags())
    assert platform.system() != "Linux" or {"avx2", "sse4_2", "asimd"} & hardware.cpu_flags()
