"""Networks of gray images: the weights of colors moved to one channel, and every use of such a network."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from resmlp.config.model_json import ModelConfig, TrunkConfig
from resmlp.config.preprocessing import Preprocessing
from resmlp.config.vision import architecture
from resmlp.data import normalize
from resmlp.data.images.mixup import to_gray
from resmlp.hub.config_json import from_hub, to_hub
from resmlp.inference.exported import normalized
from resmlp.inference.exported import to_gray as to_gray_array
from resmlp.models import Trunk, create_model, save_model
from resmlp.models.channels import fit_channels
from resmlp.models.weight_formats import guess_config, to_timm
from resmlp.models.weights import Weights
from resmlp.utils.errors import UserError

SEEN = Preprocessing((8, 8), mean=(0.1, 0.5, 0.7), std=(0.2, 0.5, 0.3))


def trunk(channels: int = 3) -> Trunk:
    arch = architecture("resmlp_digits", depth=1, dim=16, in_chans=channels)
    model = Trunk(TrunkConfig("resmlp_digits", arch, (8, 8), 5)).eval()
    torch.nn.init.normal_(model.embed[0].proj.bias)
    return model


def test_output_for_a_gray_image_stays_equal():
    """The closed form of the joined kernel, against the network of colors on the same image in three channels."""
    model = trunk()
    weights, words = fit_channels(Weights(model.state_dict(), "x"), trunk(1).config.architecture, SEEN)
    assert "one of gray" in words
    gray = trunk(1)
    gray.load_state_dict(weights.state)
    pixels = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8)
    one = SEEN.for_channels(1)
    assert one.mean == pytest.approx((1.3 / 3,))
    expected = model(normalize(pixels.repeat(1, 3, 1, 1), SEEN.mean, SEEN.std))
    assert torch.allclose(gray(normalize(pixels, one.mean, one.std)), expected, atol=1e-5)
    kernel = model.embed[0].proj.weight
    same = fit_channels(
        Weights(model.state_dict(), "x"),
        gray.config.architecture,
        Preprocessing((8, 8), mean=(0.5,) * 3, std=(0.5,) * 3),
    )
    assert torch.allclose(same[0].state["embed.patches.proj.weight"], kernel.sum(1, keepdim=True), atol=1e-6)
    assert torch.equal(same[0].state["embed.patches.proj.bias"], model.embed[0].proj.bias)


def test_weights_of_one_channel_stay_as_they_are():
    weights = Weights(trunk(1).state_dict(), "x")
    assert fit_channels(weights, trunk(1).config.architecture, SEEN) == (weights, "")
    weights = Weights(trunk().state_dict(), "x")
    assert fit_channels(weights, trunk().config.architecture, SEEN) == (weights, "")


def test_create_model_joins_the_kernels_of_a_run(tmp_path, capsys):
    model = trunk()
    save_model(tmp_path, model, tuple("abcde"), SEEN)
    gray = create_model("resmlp_digits", checkpoint=str(tmp_path), depth=1, dim=16, in_chans=1).eval()
    assert "one of gray" in capsys.readouterr().err
    pixels = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8)
    one = SEEN.for_channels(1)
    expected = model(normalize(pixels.repeat(1, 3, 1, 1), SEEN.mean, SEEN.std))
    assert torch.allclose(gray(normalize(pixels, one.mean, one.std)), expected, atol=1e-5)


def test_gray_is_that_of_pillow():
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    expected = np.asarray(Image.fromarray(image).convert("L"))
    planes = np.ascontiguousarray(image.transpose(2, 0, 1))[None]
    assert np.array_equal(to_gray(torch.from_numpy(planes)).numpy()[0, 0], expected)
    assert np.array_equal(to_gray_array(planes)[0, 0], expected)
    mean, std = (0.4,), (0.3,)
    by_torch = normalize(torch.from_numpy(planes), mean, std).numpy()
    assert by_torch.shape == (1, 1, 40, 50)
    assert np.allclose(by_torch[0, 0], (expected / 255 - 0.4) / 0.3, atol=1e-5)
    look = replace(SEEN, mean=mean, std=std)
    assert np.allclose(normalized(to_gray_array(planes), look), by_torch, atol=1e-5)


def test_formats_of_others_keep_the_channel(tmp_path):
    model = Trunk(TrunkConfig("resmlp_s12", architecture("resmlp_s12", depth=2, in_chans=1), (64, 64), 3))
    state = to_timm(model.state_dict())
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, tmp_path / "x.safetensors")
    guessed = guess_config(model.state_dict(), "x")
    assert (guessed.model.name, guessed.model.architecture.in_chans) == ("resmlp_s12", 1)
    assert len(guessed.preprocessing.mean) == 1
    for name in ("resmlp_s12", "mixer_s16", "deit_s"):
        arch = architecture(name, in_chans=1)
        card = ModelConfig(TrunkConfig(name, arch, (224, 224), 3), SEEN.for_channels(1))
        card = replace(card, preprocessing=replace(card.preprocessing, size=(224, 224)))
        hub = to_hub(card)
        assert hub["model_args"]["in_chans"] == 1
        assert hub["pretrained_cfg"]["input_size"] == [1, 224, 224]
        assert from_hub(hub) == card
        del hub["resmlp"]
        assert from_hub(hub).model.architecture.in_chans == 1
        assert from_hub(hub).preprocessing.mean == card.preprocessing.mean


def test_normalization_of_other_channels_is_one_line():
    arch = architecture("resmlp_digits", in_chans=1)
    with pytest.raises(UserError, match="its mean has 3 values for 1 channel"):
        ModelConfig(TrunkConfig("resmlp_digits", arch, (8, 8), 3), SEEN)
    with pytest.raises(UserError, match="give three values each"):
        replace(SEEN, mean=(0.5, 0.5))
