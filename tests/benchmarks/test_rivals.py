"""The numbers of two networks over their seeds, from trainings that are made up."""

import pytest

SEEDS = [0, 3]


def trained(test: float, validation: float) -> dict:
    return {"test": {"bleu": test}, "validation": {"bleu": validation}, "minutes": 1.5, "parameters": 10}


@pytest.fixture
def rivals(benchmark_module):
    return benchmark_module("rivals")


def test_numbers_are_means_over_the_seeds(rivals):
    found = {"resmlp": [trained(36.0, 35.0), trained(39.0, 37.0)], "transformer": [trained(38.0, 38.0)] * 2}
    result = rivals.result_of("multi30k", found, SEEDS)
    assert result["numbers"] == {
        **{"resmlp": 37.5, "resmlp_validation": 36.0, "resmlp_std": 2.1213},  # (1.5**2 + 1.5**2) ** 0.5
        **{"transformer": 38.0, "transformer_validation": 38.0, "transformer_std": 0.0, "behind": 0.5},
    }
    assert result["reached"]
    assert result["seconds"] == 360.0
    assert result["command"].endswith("--seeds 0 3")
    assert result["networks"]["resmlp"]["3"]["test"]["bleu"] == 39.0


def test_one_seed_has_no_deviation_and_a_bound_may_be_missed(rivals):
    result = rivals.result_of("multi30k", {"resmlp": [trained(34.0, 35.0)], "transformer": [trained(38.0, 38.0)]}, [0])
    assert "resmlp_std" not in result["numbers"]
    assert not result["reached"], "4 points behind, where 1 is allowed"
