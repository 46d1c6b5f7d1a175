"""The table of published weights against timm's own entries, and their names."""

import pytest
import torch
from timm.models import mlp_mixer

from resmlp.config import Model
from resmlp.config.pretrained import PUBLISHED, is_tagged, published
from resmlp.config.vision import TIMM_NAMES
from resmlp.hub.resolve import resolve
from resmlp.models import count_parameters, create_model
from resmlp.utils.errors import UserError

ENTRIES = {
    f"{name}.{tag}": cfg
    for name, entry in mlp_mixer.default_cfgs.items()
    for tag, cfg in entry.cfgs.items()
    if name.startswith(("resmlp", "mixer")) and cfg.hf_hub_id
}


def test_every_weight_of_the_hub_is_listed_once():
    assert {weights.repo.removeprefix("timm/") for weights in PUBLISHED.values()} == set(ENTRIES)
    assert sum(name.startswith("resmlp") for name in PUBLISHED) == 11
    assert sum(name.startswith("mixer") for name in PUBLISHED) == 6


@pytest.mark.parametrize("weights", PUBLISHED.values(), ids=list(PUBLISHED))
def test_preprocessing_classes_and_license_are_those_of_timms_entry(weights):
    entry, p = ENTRIES[weights.repo.removeprefix("timm/")], weights.preprocessing
    assert (p.mean, p.std, p.interpolation, p.size) == (
        entry.mean,
        entry.std,
        entry.interpolation,
        entry.input_size[1:],
    )
    assert p.crop_ratio == (0.9 if weights.model.startswith("resmlp") else entry.crop_pct)  # the authors' test crop
    assert weights.num_classes == (0 if weights.tag == "fb_dino" else entry.num_classes)
    assert weights.license == entry.license
    if weights.model.startswith("resmlp"):
        assert weights.source == entry.url


@pytest.mark.parametrize("weights", PUBLISHED.values(), ids=list(PUBLISHED))
def test_sizes_are_those_of_the_networks(weights):
    with torch.device("meta"):
        assert weights.parameters == count_parameters(create_model(weights.model, num_classes=weights.num_classes))


PAPER = {  # Table 3, the rows that were released: top-1, ReaL, V2, in percent
    "resmlp_s12.fb_in1k": (76.6, 83.3, 64.4),
    "resmlp_s12.fb_distilled_in1k": (77.8, 84.6, 66.0),
    "resmlp_s24.fb_in1k": (79.4, 85.3, 67.9),
    "resmlp_s24.fb_distilled_in1k": (80.8, 86.6, 69.8),
    "resmlp_b24_p8.fb_in1k": (81.0, 85.7, 68.6),
    "resmlp_b24_p8.fb_distilled_in1k": (83.6, 88.4, 73.4),
    "resmlp_b24_p8.fb_in22k_ft_in1k": (84.4, 88.9, 74.2),
}


@pytest.mark.parametrize(("name", "row"), PAPER.items())
def test_accuracies_are_those_of_table_3(name, row):
    weights = PUBLISHED[name]
    assert tuple(round(100 * score, 1) for score in (weights.top1, weights.real, weights.v2)) == row


def test_the_gains_of_distillation_are_those_of_the_paper():
    """Table 3: +1.2, +1.4 and +2.6 points."""
    for model, gain in (("resmlp_s12", 1.2), ("resmlp_s24", 1.4), ("resmlp_b24_p8", 2.6)):
        with_teacher, without = (published(f"{model}.{tag}").top1 for tag in ("fb_distilled_in1k", "fb_in1k"))
        assert 100 * (with_teacher - without) == pytest.approx(gain)


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("resmlp_s12.fb_dino", "resmlp_s12.fb_dino"),
        ("resmlp_12_224.fb_in1k", "resmlp_s12.fb_in1k"),
        ("resmlp_big_24_224.fb_in22k_ft_in1k", "resmlp_b24_p8.fb_in22k_ft_in1k"),
        ("resmlpB_24.fb_in1k", "resmlp_b24_p8.fb_in1k"),
        ("Mixer-L_16.goog_in21k", "mixer_l16.goog_in21k"),
        ("resmlp_s24", "resmlp_s24.fb_in1k"),
    ],
)
def test_aliases_of_weights(name, means):
    assert published(name).name == means


@pytest.mark.parametrize(
    "name", ["resmlp_s12", "resmlp_s12.safetensors", "a/resmlp_s12.fb_in1k", "resnet50.a1_in1k", "x"]
)
def test_names_without_a_tag(name):
    assert not is_tagged(name)


def test_every_timm_alias_is_a_timm_model():
    assert set(TIMM_NAMES.values()) - {"deit_small_patch16_224"} <= set(mlp_mixer.default_cfgs)


def test_the_config_of_published_weights_needs_no_download():
    card = resolve("resmlp_24_224.fb_distilled_in1k").config
    assert (card.model.name, card.model.num_classes, card.preprocessing.crop_ratio) == ("resmlp_s24", 1000, 0.9)


def test_a_tagged_model_of_a_recipe_starts_from_its_weights():
    model = Model("resmlp_12_224.fb_distilled_in1k")
    assert (model.known, model.start) == ("resmlp_s12", "resmlp_s12.fb_distilled_in1k")
    with pytest.raises(UserError, match="are two sets of weights"):
        Model("resmlp_s12.fb_in1k", checkpoint="runs/x")
    with pytest.raises(UserError, match="fb_in1k"):
        Model("resmlp_s12.fb_in2k")
