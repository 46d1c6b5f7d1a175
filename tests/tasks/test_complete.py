"""The precision of a run: chosen by the hardware at its beginning, and kept."""

from dataclasses import replace

import pytest

from resmlp.recipes import RECIPES
from resmlp.tasks import complete
from resmlp.utils import hardware


def asked(name: str, precision: str):
    recipe = RECIPES[name]
    return replace(recipe, run=replace(recipe.run, device="cpu", precision=precision))


@pytest.mark.parametrize("name", ["digits", "numbers"])
@pytest.mark.parametrize(("flags", "precision"), [({"avx2"}, "fp32"), ({"avx2", "avx512_bf16"}, "bf16")])
def test_auto_is_what_the_cpu_has(name, flags, precision, monkeypatch):
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset(flags))
    begun = complete(asked(name, "auto"))
    assert begun.run.precision == precision
    assert complete(begun) == begun


def test_a_run_keeps_its_precision(monkeypatch):
    """On a machine without units for bf16, too: its steps are the same."""
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset({"avx2"}))
    begun = complete(asked("digits", "bf16"))
    assert complete(asked("digits", "auto"), begun).run.precision == "bf16"
    assert complete(asked("digits", "fp32"), begun).run.precision == "fp32"  # refused later, as another recipe
