"""Weights loaded by timm: checkpoint_path, load_checkpoint, and pretrained with another file."""

from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from timm.models import load_checkpoint, mlp_mixer

from resmlp.config.preprocessing import Preprocessing
from resmlp.models import save_model
from resmlp.utils.errors import UserError


@pytest.mark.isa
def test_a_saved_file_of_resmlp(make, make_ours, shake, images, tmp_path, name):
    ours, x = shake(make_ours(name)), images()
    save_model(tmp_path, ours, tuple("abcde"), Preprocessing(ours.config.size))
    file = str(tmp_path / "model.safetensors")
    torch.testing.assert_close(make(name, checkpoint_path=file).eval()(x), ours(x), rtol=0, atol=0)
    again = make(name).eval()
    load_checkpoint(again, file)
    torch.testing.assert_close(again(x), ours(x), rtol=0, atol=0)


def test_a_checkpoint_of_the_training_script_of_timm(make, shake, images, tmp_path, name):
    trained, x = shake(make(name)), images()
    state = {f"module.{key}": tensor for key, tensor in trained.state_dict().items()}
    torch.save({"epoch": 3, "arch": name, "state_dict": {}, "state_dict_ema": state}, tmp_path / "last.pth.tar")
    again = make(name, checkpoint_path=str(tmp_path / "last.pth.tar")).eval()
    torch.testing.assert_close(again(x), trained(x), rtol=0, atol=0)


def timm_resmlp(**options):
    """The ResMLP of timm with the same sizes."""
    sizes = {"img_size": (8, 12), "patch_size": 4, "embed_dim": 12, "num_blocks": 3, "mlp_ratio": 4, "num_classes": 5}
    return mlp_mixer.MlpMixer(**sizes | options, block_layer=mlp_mixer.ResBlock, norm_layer=mlp_mixer.Affine)


def pretrained(make, file, **options):
    """How a user of timm starts from a file; weights of the hub are loaded in the same way."""
    overlay = {"file": str(file), "num_classes": 5}
    return make("resmlp_s12", pretrained=True, pretrained_cfg_overlay=overlay, **options).eval()


@pytest.mark.isa
@pytest.mark.parametrize("dialect", ["ours", "timm", "official"])
def test_pretrained_reads_every_dialect(dialect, make, shake, images, tmp_path):
    source, x = shake(timm_resmlp()), images()
    state = source.state_dict()
    if dialect == "ours":
        state = shake(make("resmlp_s12")).state_dict()
        source = make("resmlp_s12").eval()
        source.load_state_dict(state)
    if dialect == "official":
        renamed = {"stem.": "patch_embed.", "linear_tokens.": "attn.", "mlp_channels.": "mlp.", "ls": "gamma_"}
        for old, new in renamed.items():
            state = {key.replace(old, new): tensor for key, tensor in state.items()}
        state = {k: t.flatten() if k.endswith((".alpha", ".beta")) else t for k, t in state.items()}
    save_file(state, tmp_path / "weights.safetensors")
    model, x = pretrained(make, tmp_path / "weights.safetensors").double(), x.double()
    torch.testing.assert_close(model(x), source.double()(x), rtol=0, atol=1e-12)


@pytest.mark.isa
def test_pretrained_to_other_classes_channels_and_features(make, shake, images, tmp_path):
    source, file = shake(timm_resmlp()), tmp_path / "weights.safetensors"
    save_file(source.state_dict(), file)
    assert pretrained(make, file, num_classes=3)(images()).shape == (2, 3)
    x, close = images().double(), partial(torch.testing.assert_close, rtol=0, atol=1e-12)
    source.double()
    headless = pretrained(make, file, num_classes=0).double()
    close(headless(x), source.forward_features(x).mean(1))
    gray = pretrained(make, file, in_chans=1).double()  # its kernel is the float32 sum of three
    torch.testing.assert_close(gray(x[:, :1]), source(x[:, :1].expand(-1, 3, -1, -1)), rtol=0, atol=1e-5)
    features = pretrained(make, file, features_only=True, out_indices=(2,)).double()
    close(features(x), source.forward_intermediates(x, [2], intermediates_only=True))


@pytest.mark.isa
def test_headless_weights_from_a_file_with_a_head(make, shake, images, tmp_path):
    source, file = shake(timm_resmlp()), tmp_path / "dino.safetensors"
    save_file(source.state_dict(), file)
    overlay = {"file": str(file), "num_classes": 0}
    model = make("resmlp_s12", pretrained=True, pretrained_cfg_overlay=overlay, num_classes=0).eval()
    x = images().double()
    torch.testing.assert_close(model.double()(x), source.double().forward_features(x).mean(1), rtol=0, atol=1e-12)


@pytest.mark.isa
def test_an_npz_file_of_google(make, shake, images, tmp_path):
    source, x = shake(make("mixer_s16")), images()
    names = {"head.": "head/", "embed.patches.proj.": "stem/", "norm.": "pre_head_layer_norm/"}
    parts = {"tokens.norm.": "LayerNorm_0/", "channels.norm.": "LayerNorm_1/"}
    parts |= {
        f"{k}.fn.fc{i}.": f"{v}/Dense_{i - 1}/"
        for k, v in (("tokens", "token_mixing"), ("channels", "channel_mixing"))
        for i in (1, 2)
    }
    arrays = {}
    for key, tensor in source.state_dict().items():
        kernel = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[tensor.ndim]
        new = key
        if key.startswith("blocks."):
            _, layer, rest = key.split(".", 2)
            part = next(p for p in parts if rest.startswith(p))
            new = f"MixerBlock_{layer}/{parts[part]}{rest.removeprefix(part)}"
        else:
            front = next(f for f in names if key.startswith(f))
            new = names[front] + key.removeprefix(front)
        new = new.replace("weight", "scale" if tensor.ndim == 1 else "kernel")
        arrays[new] = tensor.permute(kernel).numpy()
    np.savez(tmp_path / "mixer.npz", **arrays)
    model = make("mixer_s16", checkpoint_path=str(tmp_path / "mixer.npz")).eval()
    torch.testing.assert_close(model.double()(x.double()), source.double()(x.double()), rtol=0, atol=1e-12)


def test_weights_that_do_not_fit_are_refused(make, tmp_path):
    save_file({"some.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="no known dialect of ResMLP or MLP-Mixer"):
        pretrained(make, tmp_path / "other.safetensors")
    np.savez(tmp_path / "other.npz", a=np.zeros(2))
    with pytest.raises(UserError, match="dialect"):
        make("resmlp_s12", checkpoint_path=str(tmp_path / "other.npz"))
