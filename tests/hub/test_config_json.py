"""config.json of the hub: read and written in the format of timm; invalid files are refused in one line."""

import copy
import json
from dataclasses import replace

import pytest
import timm
import torch

from resmlp.config.model_json import ModelConfig, TrunkConfig
from resmlp.config.preprocessing import Preprocessing
from resmlp.config.vision import ARCHITECTURES, TIMM_NAMES, Architecture, architecture
from resmlp.hub.config_json import from_hub, timm_name, to_hub
from resmlp.models import Trunk
from resmlp.utils.errors import UserError


def model_config(
    name="resmlp_s12", size=(64, 96), classes=("cat", "dog", "żółw # x"), num_classes=None, **changes
) -> ModelConfig:
    arch = architecture(name, **changes)
    count = len(classes) if num_classes is None else num_classes
    network = TrunkConfig(name, arch, size, count, drop_path=0.1)
    return ModelConfig(network, Preprocessing(size, 0.8, "bilinear", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)), classes)


MODEL_CONFIGS = {
    "s12": model_config(),
    "s24": model_config("resmlp_s24", (32, 32)),
    "one number": model_config(size=(224, 224)),
    "deeper": model_config(depth=13),
    "fan-in": model_config(init="fan-in", layer_scale=0.5),
    "features": model_config(classes=(), num_classes=0),
    "nameless": model_config(classes=(), num_classes=7),
    "cifar": model_config("resmlp_cifar", (32, 32)),
    "mixer": model_config("mixer_b16", (32, 64)),
    "mixer of another width": model_config("mixer_s32", token_hidden=37, mlp_ratio=2.5),
    "mixer by the tokens": ModelConfig(
        replace(model_config("mixer_s32").model, architecture=replace(ARCHITECTURES["mixer_s32"], token_hidden=None)),
        Preprocessing((64, 96)),
        ("a", "b", "c"),
    ),
    "small mixer": model_config("mixer_s16", dim=48, depth=2),
    "mlp": model_config("resmlp_s12_mlp"),
    "relu": model_config(activation="relu"),
    "post": model_config(residual="post", norm="batchnorm", scale="affine"),
    "class-mlp": model_config("resmlp_s12_classmlp"),
    "deit": model_config("deit_s", dim=48, depth=2),
    "an unknown name": replace(model_config(), model=replace(model_config(dim=48).model, name="my-net")),
}
IN_TIMM = {
    "s12",
    "s24",
    "one number",
    "fan-in",
    "features",
    "nameless",
    "mixer",
    "mixer of another width",
    "mixer by the tokens",
}


@pytest.mark.parametrize("name", MODEL_CONFIGS)
def test_round_trip(name):
    config = json.loads(json.dumps(to_hub(MODEL_CONFIGS[name])))
    assert from_hub(config) == MODEL_CONFIGS[name]


def shapes(network: TrunkConfig) -> dict[str, torch.Size]:
    with torch.device("meta"):
        return {key: tensor.shape for key, tensor in Trunk(network).state_dict().items()}


@pytest.mark.parametrize("name", MODEL_CONFIGS)
def test_the_network_without_the_key_of_resmlp(name):
    config = json.loads(json.dumps(to_hub(MODEL_CONFIGS[name])))
    del config["resmlp"]
    read, original = from_hub(config), MODEL_CONFIGS[name]
    assert (read.preprocessing, read.classes) == (original.preprocessing, original.classes)
    assert (read.model.size, read.model.num_classes) == (original.model.size, original.model.num_classes)
    assert shapes(read.model) == shapes(original.model)
    for part in ("mixer", "norm", "activation", "scale", "residual", "pool", "pos_embed", "patch_size"):
        assert getattr(read.model.architecture, part) == getattr(original.model.architecture, part)


@pytest.mark.parametrize("name", MODEL_CONFIGS)
def test_networks_of_timm_have_their_names_in_timm(name):
    config = to_hub(MODEL_CONFIGS[name])
    assert (config["architecture"] in TIMM_NAMES.values()) == (name in IN_TIMM)
    assert (config["pretrained_cfg"]["first_conv"] == "stem.proj") == (name in IN_TIMM)


@pytest.mark.parametrize("key", [name for name in TIMM_NAMES if name != "deit_s"])
def test_every_name_in_timm(key):
    assert timm_name(ARCHITECTURES[key]) == TIMM_NAMES[key]
    assert timm_name(replace(ARCHITECTURES[key], init="fan-in", layer_scale=0.3, heads=5)) == TIMM_NAMES[key]


@pytest.mark.parametrize("hidden", [1, 7, 49, 99, 147, 255, 333, 767])
@pytest.mark.parametrize("dim_of", ["mixer_s32", "mixer_b32", "mixer_l32"])
def test_timm_builds_the_exact_hidden_width(hidden, dim_of):
    config = to_hub(model_config(dim_of, size=(32, 32), token_hidden=hidden))
    with torch.device("meta"):
        model = timm.create_model(config["architecture"], **config["model_args"])
    assert model.blocks[0].mlp_tokens.fc1.out_features == hidden
    del config["resmlp"]
    assert from_hub(config).model.architecture.token_hidden == hidden


def test_a_config_json_of_timm(tmp_path):
    """Written by timm, with another size, and arguments that do not change a trained network."""
    from timm.models import save_for_hf

    with torch.device("meta"):
        model = timm.create_model(
            "mixer_s32_224", img_size=(64, 96), num_classes=3, drop_rate=0.1, mlp_ratio=(0.25, 2.0)
        )
    model.to_empty(device="cpu")
    save_for_hf(model, tmp_path, model_config={"label_names": ["a", "b", "c"]}, safe_serialization=True)
    read = from_hub(json.loads((tmp_path / "config.json").read_text()))
    assert read.model.size == read.preprocessing.size == (64, 96)
    assert read.classes == ("a", "b", "c")
    assert read.preprocessing.mean == (0.5, 0.5, 0.5)
    assert read.preprocessing.crop_ratio == 0.875
    assert read.model.architecture == replace(ARCHITECTURES["mixer_s32"], token_hidden=128, mlp_ratio=2.0)


def test_keys_of_timm_for_sizes():
    config = {"architecture": "resmlp_s12", "model_args": {"embed_dim": 48, "num_blocks": 2, "num_heads": 4}}
    assert from_hub(config).model.architecture == Architecture(dim=48, depth=2, heads=4)


VALID = {key: value for key, value in to_hub(model_config("mixer_s32")).items() if key != "resmlp"}
HOSTILE = [
    ("", None, "does not hold a JSON object"),
    ("", [], "does not hold a JSON object"),
    ("", "resnet50", "does not hold a JSON object"),
    ("", {}, "names no architecture"),
    ("architecture", None, "names no architecture"),
    ("architecture", ["mixer_s32"], "names no architecture"),
    ("architecture", "resnet50", "unknown model 'resnet50'"),
    ("architecture", "", "unknown model ''"),
    ("resmlp", None, 'its "resmlp" is not a JSON object'),
    ("resmlp", {}, "it has no 'model'"),
    ("resmlp", 3, 'its "resmlp" is not a JSON object'),
    ("resmlp", {"format": 2, "new": 1}, "its format is 2 (written by a newer resmlp: update it)"),
    ("resmlp", {"format": "x"}, "its format is 'x' (it should be 1)"),
    ("num_classes", "3", "num_classes is '3'"),
    ("num_classes", True, "num_classes is True"),
    ("num_classes", 3.0, "num_classes is 3.0"),
    ("num_classes", -1, "num-classes -1"),
    ("num_classes", 10**30, "num"),
    ("model_args", [1], "model_args is not a JSON object"),
    ("model_args", "x", "model_args is not a JSON object"),
    ("model_args.img_size", "224", "img_size is '224'"),
    ("model_args.img_size", [], "img_size is []"),
    ("model_args.img_size", [1, 2, 3], "img_size is [1, 2, 3]"),
    ("model_args.img_size", True, "img_size is True"),
    ("model_args.img_size", 0, "size 0 0"),
    ("model_args.img_size", 10**12, "size 1000000000000"),
    ("model_args.depth", 10**12, "depth 1000000000000"),
    ("model_args.depth", "8", "model_args.depth is '8'"),
    ("model_args.depth", None, "model_args.depth is None"),
    ("model_args.dim", 1.5, "model_args.dim is 1.5"),
    ("model_args.mixer", "magic", "mixer is 'magic' (choose from attention, "),
    ("model_args.norm", "layer_norm", "norm is 'layer_norm' (did you mean layernorm?)"),
    ("model_args.mixer", "x" * 10**6, "mixer is 'xxx"),
    ("model_args.num_blocks", 2**11, "depth 2048"),
    ("model_args.embed_dim", 2**15, "dim 32768"),
    ("model_args.mixer", {}, "mixer"),
    ("model_args.mlp_ratio", [0.5], "mlp_ratio is [0.5]"),
    ("model_args.mlp_ratio", [0.5, "4"], "mlp_ratio is [0.5, '4']"),
    ("model_args.mlp_ratio", [float("nan"), 4], "mlp_ratio is [nan, 4]"),
    ("model_args.mlp_ratio", [float("inf"), 4], "mlp_ratio is [inf, 4]"),
    ("model_args.mlp_ratio", [10**400, 4], "mlp_ratio is"),
    ("model_args.mlp_ratio", [1e-9, 4], "token-hidden 0"),
    ("model_args.mlp_ratio", 10**400, "mlp_ratio is"),
    ("model_args.in_chans", 4, "in_chans is 4"),
    ("model_args.global_pool", "max", "global_pool is 'max'"),
    ("model_args.block_layer", "ResBlock", "unknown model_args block_layer"),
    ("model_args.__class__", 1, "unknown model_args __class__"),
    ("pretrained_cfg", [1], "pretrained_cfg is not a JSON object"),
    ("pretrained_cfg.mean", [0.5, 0.5], "mean is [0.5, 0.5]"),
    ("pretrained_cfg.mean", 0.5, "mean is 0.5"),
    ("pretrained_cfg.std", [0, 0, 0], "std 0"),
    ("pretrained_cfg.std", [float("nan")] * 3, "std nan"),
    ("pretrained_cfg.crop_pct", 0, "crop-ratio"),
    ("pretrained_cfg.crop_pct", "0.9", "crop_ratio is '0.9'"),
    ("pretrained_cfg.interpolation", "random", "interpolation"),
    ("label_names", "abc", "label_names is not a list"),
    ("label_names", {"0": "cat"}, "label_names is not a list"),
    ("label_names", [1, 2, 3], "label_names is not a list"),
    ("label_names", ["cat"], "label_names has 1 names for 3 classes"),
]


@pytest.mark.parametrize(("path", "value", "message"), HOSTILE, ids=[f"{p}={v!r}"[:50] for p, v, _ in HOSTILE])
def test_invalid_values_are_refused_in_one_line(path, value, message):
    config = copy.deepcopy(VALID)
    *parents, last = path.split(".")
    place = config
    for key in parents:
        place = place[key]
    place[last] = value
    with pytest.raises(UserError) as error:
        from_hub(config if path else value)
    assert message in str(error.value)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 400


def test_five_unknown_keys_are_named():
    many = {f"word{i:03}\x1b[31m": 1 for i in range(400)}
    with pytest.raises(UserError) as error:
        from_hub(VALID | {"model_args": many})
    assert error.value.what.count("word") == 5
    assert "and 395 more" in error.value.what
    assert "\x1b" not in str(error.value)


def test_the_valid_config():
    assert from_hub(VALID).model.architecture == ARCHITECTURES["mixer_s32"]
