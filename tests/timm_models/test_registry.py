"""The registry of timm after `resmlp.timm` is imported, and before."""

import subprocess
import sys

import pytest
import timm
import torch
from timm.models import list_models

import resmlp.timm  # noqa: F401
from resmlp.config.pretrained import PUBLISHED
from resmlp.config.vision import ALIASES, ARCHITECTURES


def test_every_name_is_registered_and_names_of_timm_are_not_replaced():
    assert set(ARCHITECTURES) == set(list_models(module="timm"))
    assert timm.list_models("resmlp_s1*") == sorted((n for n in ARCHITECTURES if "resmlp_s1" in n), key=len_then_name)
    for alias in ("resmlp_12_224", "mixer_b16_224", "deit_small_patch16_224"):
        assert alias in ALIASES
        assert timm.models.model_entrypoint(alias).__module__.startswith("timm.")


def len_then_name(name):
    """timm sorts numbers as numbers: p8 before p14."""
    return name.replace("p8", "p08")


def test_nothing_is_registered_before_the_import():
    script = (
        "import timm, resmlp, resmlp.models; before = timm.is_model('resmlp_s12'); import resmlp.timm; "
        "print(before, timm.is_model('resmlp_s12'))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_default_cfg(name):
    cfg = timm.models.get_pretrained_cfg(name)
    assert (cfg.architecture, cfg.fixed_input_size, cfg.interpolation) == (name, True, "bicubic")
    mixer = name.startswith("mixer_")
    small = {"resmlp_digits": (8, 1.0, 0.3), "resmlp_cifar": (32, 1.0, 0.4914)}
    side, crop, mean = small.get(name, (224, 0.875 if mixer else 0.9, 0.5 if mixer else 0.485))
    assert (cfg.input_size, cfg.crop_pct, cfg.mean[0]) == ((3, side, side), crop, mean)
    assert cfg.num_classes == (10 if name in small else 1000)
    with torch.device("meta"):
        model = timm.create_model(name)
    state = model.state_dict()
    assert state[f"{cfg.classifier}.weight"].shape[0] == model.num_classes == cfg.num_classes
    assert state[f"{cfg.first_conv}.weight"].shape[1] == model.in_chans == 3


def test_published_weights_are_listed_with_their_own_preprocessing():
    listed = {n for n in timm.list_pretrained() if n.split(".")[0] in ARCHITECTURES}
    assert listed == set(PUBLISHED)
    cfg = timm.models.get_pretrained_cfg("mixer_b16.miil_in21k_ft_in1k")
    assert (cfg.hf_hub_id, cfg.mean, cfg.interpolation) == (
        "timm/mixer_b16_224.miil_in21k_ft_in1k",
        (0,) * 3,
        "bilinear",
    )
    assert timm.models.get_pretrained_cfg("resmlp_s12").tag == "fb_in1k", "the default is the first in the list"


def test_the_data_config_is_the_preprocessing(make):
    data = timm.data.resolve_model_data_config(make("mixer_s16"))
    assert (data["mean"], data["std"], data["crop_pct"]) == ((0.5,) * 3, (0.5,) * 3, 0.875)
    sized = timm.create_model("resmlp_cifar", pretrained_cfg_overlay={"input_size": (3, 16, 24)})
    assert sized.config.size == (16, 24)
    assert timm.data.resolve_model_data_config(sized)["input_size"] == (3, 16, 24)


@pytest.mark.parametrize("options", [{"nonsense": 1}, {"embed_dim": 8, "dim": 8}, {"norm_layer": torch.nn.LayerNorm}])
def test_an_unknown_part_is_a_type_error_as_in_timm(options):
    with pytest.raises(TypeError, match="resmlp_s12 got"):
        timm.create_model("resmlp_s12", **options)
