"""Weights of every dialect give the function that an independent implementation computes from the same file."""

import argparse
import math
import pickle
import zipfile

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models import mlp_mixer
from timm.models.vision_transformer import VisionTransformer

from resmlp.config.vision import ARCHITECTURES
from resmlp.models import create_model, open_model, read_weights
from resmlp.models.weight_formats import from_timm, to_timm
from resmlp.utils.errors import UserError

# Google's MLP-Mixer (google-research/vision_transformer, models_mixer.py), written in numpy from its arrays' names

DIM, DEPTH, PATCH, SIDE, CLASSES, TOKEN_HIDDEN = 16, 3, 4, 16, 5, 12
TOKENS = (SIDE // PATCH) ** 2


def google_arrays(seed=0):
    rng = np.random.default_rng(seed)

    def dense(name, rows, columns):
        kernel = rng.normal(size=(rows, columns)) / math.sqrt(rows)
        return {f"{name}/kernel": kernel, f"{name}/bias": 0.1 * rng.normal(size=columns)}

    def norm(name):
        return {f"{name}/scale": 1 + 0.1 * rng.normal(size=DIM), f"{name}/bias": 0.1 * rng.normal(size=DIM)}

    stem = rng.normal(size=(PATCH, PATCH, 3, DIM)) / (PATCH * math.sqrt(3))
    arrays = {"stem/kernel": stem, "stem/bias": 0.1 * rng.normal(size=DIM)}
    for i in range(DEPTH):
        block = f"MixerBlock_{i}"
        arrays |= norm(f"{block}/LayerNorm_0") | norm(f"{block}/LayerNorm_1")
        arrays |= dense(f"{block}/token_mixing/Dense_0", TOKENS, TOKEN_HIDDEN)
        arrays |= dense(f"{block}/token_mixing/Dense_1", TOKEN_HIDDEN, TOKENS)
        arrays |= dense(f"{block}/channel_mixing/Dense_0", DIM, 4 * DIM)
        arrays |= dense(f"{block}/channel_mixing/Dense_1", 4 * DIM, DIM)
    arrays |= norm("pre_head_layer_norm") | dense("head", DIM, CLASSES)
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def google_forward(p, images):
    """B H W 3 -> B K, in float64"""
    p = {name: array.astype(np.float64) for name, array in p.items()}
    erf = np.vectorize(math.erf)

    def norm(x, name):
        centered = x - x.mean(-1, keepdims=True)
        return centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-6) * p[f"{name}/scale"] + p[f"{name}/bias"]

    def mlp(x, name):
        hidden = x @ p[f"{name}/Dense_0/kernel"] + p[f"{name}/Dense_0/bias"]
        hidden = hidden * 0.5 * (1 + erf(hidden / math.sqrt(2)))
        return hidden @ p[f"{name}/Dense_1/kernel"] + p[f"{name}/Dense_1/bias"]

    side = SIDE // PATCH
    patches = images.reshape(len(images), side, PATCH, side, PATCH, 3)
    x = np.einsum("bhpwqc,pqcd->bhwd", patches, p["stem/kernel"]) + p["stem/bias"]
    x = x.reshape(len(images), TOKENS, DIM)
    for i in range(DEPTH):
        block = f"MixerBlock_{i}"
        x = x + mlp(norm(x, f"{block}/LayerNorm_0").swapaxes(1, 2), f"{block}/token_mixing").swapaxes(1, 2)
        x = x + mlp(norm(x, f"{block}/LayerNorm_1"), f"{block}/channel_mixing")
    return norm(x, "pre_head_layer_norm").mean(1) @ p["head/kernel"] + p["head/bias"]


MIXER = {"dim": DIM, "depth": DEPTH, "patch_size": PATCH, "img_size": SIDE, "token_hidden": TOKEN_HIDDEN}


@pytest.mark.isa
def test_logits_equal_googles_mixer(tmp_path):
    arrays = google_arrays()
    np.savez(tmp_path / "Mixer.npz", **arrays)
    images = torch.randn(3, 3, SIDE, SIDE)
    expected = google_forward(arrays, images.permute(0, 2, 3, 1).double().numpy())
    assert 0.1 < expected.std() < 10
    for model in (
        create_model("mixer_s16", checkpoint=str(tmp_path / "Mixer.npz"), **MIXER),
        open_model(tmp_path / "Mixer.npz").model,  # by the file alone
    ):
        with torch.inference_mode():
            logits = model.eval().double()(images.double())
        np.testing.assert_allclose(logits.numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["resmlp_12_224", "resmlp_24_224", "resmlp_36_224", "mixer_s32_224", "mixer_b16_224"])
def test_to_timm_and_back_is_exact(name):
    with torch.device("meta"):
        shapes = timm.create_model(name).state_dict()
        ours = create_model(name).state_dict()
    state = {key: torch.randn(tensor.shape) for key, tensor in ours.items()}
    theirs = to_timm(state)
    assert {key: tensor.shape for key, tensor in theirs.items()} == {k: t.shape for k, t in shapes.items()}
    back = from_timm(theirs)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], state[key]) for key in state)


@pytest.mark.isa
def test_timm_computes_the_same_from_converted_weights():
    ours = create_model("resmlp_s12", dim=24, depth=2, patch_size=4, img_size=16, num_classes=7, scale="layerscale")
    torch.nn.init.normal_(ours.norm.beta)
    sizes = {"num_classes": 7, "img_size": 16, "patch_size": 4, "embed_dim": 24, "num_blocks": 2, "mlp_ratio": 4}
    theirs = mlp_mixer.MlpMixer(**sizes, block_layer=mlp_mixer.ResBlock, norm_layer=mlp_mixer.Affine)
    theirs.load_state_dict(to_timm(ours.state_dict()))
    images = torch.randn(2, 3, 16, 16).double()
    with torch.inference_mode():
        outputs, expected = (model.eval().double()(images) for model in (theirs, ours))
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-12)


@pytest.mark.isa
def test_the_attention_baseline_equals_timm_from_the_keys_of_deit(tmp_path):
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 6, "num_classes": 7}
    theirs = VisionTransformer(**sizes).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    torch.save({"model": theirs.state_dict()}, tmp_path / "deit.pth")
    ours = create_model("deit_s", dim=24, depth=2, patch_size=8, img_size=32, checkpoint=str(tmp_path / "deit.pth"))
    images = torch.randn(2, 3, 32, 32).double()
    with torch.inference_mode():
        outputs, expected = (model.eval().double()(images) for model in (ours, theirs))
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-12)


# what training scripts put around the weights


@pytest.fixture
def state():
    """A small ResMLP in the authors' names, and the same in ours."""
    network = create_model("resmlp_s12", dim=8, depth=2, patch_size=4, img_size=8, num_classes=3)
    ours = {key: torch.randn(tensor.shape) for key, tensor in network.state_dict().items()}
    theirs = {}
    for key, tensor in ours.items():
        key = key.replace("embed.patches", "patch_embed")
        for old, new in (
            ("tokens.norm", "norm1"),
            ("tokens.fn", "attn"),
            ("tokens.scale.gamma", "gamma_1"),
            ("channels.norm", "norm2"),
            ("channels.fn", "mlp"),
            ("channels.scale.gamma", "gamma_2"),
        ):
            key = key.replace(old, new)
        theirs[key] = tensor
    return ours, theirs


def other(state):
    return {key: tensor + 1 for key, tensor in state.items()}


def dino(state):
    """What DINO's main_dino.py saves: two networks with their projection heads, all under `module.`."""
    trunk = {key: tensor for key, tensor in state.items() if not key.startswith("head.")}

    def network(some):
        backbone = {f"module.backbone.{key}": tensor for key, tensor in some.items()}
        return backbone | {
            "module.head.mlp.0.weight": torch.ones(4, 8),
            "module.head.last_layer.weight_g": torch.ones(4),
        }

    return {
        "student": network(other(trunk)),
        "teacher": network(trunk),
        "optimizer": {"state": {}, "param_groups": []},
        "epoch": 3,
        "args": argparse.Namespace(arch="resmlp_12", lr=5e-4),
        "dino_loss": {"center": torch.zeros(1, 4)},
    }


WRAPPINGS = {
    "bare": lambda s: s,
    "model": lambda s: {"model": s, "epoch": 3, "args": argparse.Namespace(lr=0.1)},
    "state_dict": lambda s: {"state_dict": s},
    "ema before raw": lambda s: {"state_dict": other(s), "state_dict_ema": s},
    "deit": lambda s: {"model": s, "model_ema": other(s), "optimizer": {"state": {}}},
    "module.": lambda s: {f"module.{k}": v for k, v in s.items()},
    "compiled": lambda s: {f"_orig_mod.{k}": v for k, v in s.items()},
    "both": lambda s: {"model": {f"module._orig_mod.{k}": v for k, v in s.items()}},
    "transformers": lambda s: {f"timm_model.{k}": v for k, v in s.items()},
    "nested": lambda s: {"model": {"state_dict": s}},
    "side by side": lambda s: (
        {f"student.{k}": v for k, v in other(s).items()} | {f"teacher.{k}": v for k, v in s.items()}
    ),
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_dictionaries_and_prefixes_around_weights_are_removed(wrapping, state, tmp_path):
    ours, theirs = state
    torch.save(WRAPPINGS[wrapping](theirs), tmp_path / "weights.pth")
    read = read_weights(tmp_path / "weights.pth").state
    assert read.keys() == ours.keys()
    assert all(torch.equal(read[key], tensor) for key, tensor in ours.items())


def test_a_dino_checkpoint_gives_the_teachers_trunk(state, tmp_path):
    ours, theirs = state
    torch.save(dino(theirs), tmp_path / "checkpoint.pth")
    weights = read_weights(tmp_path / "checkpoint.pth")
    assert weights.num_classes == 0
    assert weights.state.keys() == {key for key in ours if not key.startswith("head.")}
    assert all(torch.equal(tensor, ours[key]) for key, tensor in weights.state.items())


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_code_next_to_a_namespace_is_refused(tmp_path, capsys):
    torch.save({"model": {"a": torch.ones(1)}, "args": argparse.Namespace(x=Evil())}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="more than tensors"):
        read_weights(tmp_path / "evil.pth")
    assert "executed" not in capsys.readouterr().out


# hostile archives


def test_objects_in_an_npz_are_refused(tmp_path, capsys):
    arrays = google_arrays() | {"stem/bias": np.array([Evil()], dtype=object)}
    np.savez(tmp_path / "evil.npz", **arrays)
    with pytest.raises(UserError, match=r"evil\.npz"):
        read_weights(tmp_path / "evil.npz")
    assert "executed" not in capsys.readouterr().out


def test_an_npz_with_a_huge_unpacked_size_is_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "bomb.npz", **{"stem/kernel": np.zeros((1, 1, 3, 100_000), np.float32)})
    monkeypatch.setattr("resmlp.models.weights.MAX_ARCHIVE", 2**20)
    with pytest.raises(UserError, match="claims"):
        read_weights(tmp_path / "bomb.npz")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut short"])
def test_broken_npz_files_are_named(content, tmp_path):
    (tmp_path / "broken.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"broken\.npz") as error:
        read_weights(tmp_path / "broken.npz")
    assert "\n" not in str(error.value)


def test_an_npz_whose_member_is_damaged_is_named(tmp_path):
    np.savez(tmp_path / "whole.npz", **google_arrays())
    with zipfile.ZipFile(tmp_path / "whole.npz") as whole, zipfile.ZipFile(tmp_path / "bad.npz", "w") as bad:
        for name in whole.namelist():
            bad.writestr(name, whole.read(name)[:-8])
    with pytest.raises(UserError, match=r"bad\.npz"):
        read_weights(tmp_path / "bad.npz")


def test_a_pickle_named_npz_is_refused(tmp_path, capsys):
    (tmp_path / "evil.npz").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(UserError, match=r"evil\.npz"):
        read_weights(tmp_path / "evil.npz")
    assert "executed" not in capsys.readouterr().out


# a file alone says which network it is


@pytest.mark.parametrize(
    "name", ["resmlp_s12", "resmlp_s24", "resmlp_s12_p14", "resmlp_cifar", "mixer_s32", "mixer_b16"]
)
def test_the_network_is_guessed_from_the_tensors(name, tmp_path):
    patch = ARCHITECTURES[name].patch_size
    model = create_model(name, img_size=patch * 8, num_classes=11)
    save_file(to_timm(model.state_dict()), tmp_path / "weights.safetensors")
    saved = open_model(tmp_path / "weights.safetensors")
    assert saved.model.config.name == name
    assert saved.model.config.size == saved.preprocessing.size == (patch * 8, patch * 8)
    assert saved.preprocessing.mean == ((0.5,) * 3 if name.startswith("mixer") else (0.485, 0.456, 0.406))
    images = torch.randn(1, 3, patch * 8, patch * 8)
    assert torch.equal(saved.model(images), model.eval()(images))


@pytest.mark.parametrize(
    "changes", [{"img_size": (8, 16)}, {"pos_embed": True}, {"mixer": "dwconv"}, {"mixer": "none"}], ids=str
)
def test_a_network_that_tensors_do_not_determine_is_refused(changes, tmp_path):
    model = create_model("resmlp_s12", **{"dim": 8, "depth": 1, "patch_size": 4, "img_size": 8} | changes)
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(UserError, match="by name"):
        open_model(tmp_path / "weights.safetensors")


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array(["text"]), "type <U4"),
        (np.zeros(3, "V8"), "type |V8"),
        (np.zeros(3, ">f4"), "type >f4"),
        (np.zeros(3, "M8[s]"), "type datetime64"),
        (np.zeros(3, np.longdouble), "type float128"),
        (np.zeros(3, [("x", "f4")]), "type [('x'"),
    ],
)
def test_arrays_of_anything_but_numbers_are_named(array, words, tmp_path):
    np.savez(tmp_path / "odd.npz", **{"stem/kernel": array})
    with pytest.raises(UserError) as error:
        read_weights(tmp_path / "odd.npz")
    assert words in str(error.value)


@pytest.mark.parametrize("shape", [(10**12,), (4_000_000_000,), (-1,), (2**62, 2**62), "x"])
def test_an_array_that_claims_another_length_is_named_before_it_is_read(shape, tmp_path):
    header = repr({"descr": "<f4", "fortran_order": False, "shape": shape}).ljust(117) + "\n"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(64)
    with zipfile.ZipFile(tmp_path / "claims.npz", "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(UserError, match=r"claims\.npz: a\.npy has a(nother length| damaged header)"):
        read_weights(tmp_path / "claims.npz")


def test_an_npz_of_zeros_is_refused_by_its_size(tmp_path):
    np.savez_compressed(tmp_path / "zeros.npz", **{"stem/kernel": np.zeros(2**25, np.float32)})
    assert (tmp_path / "zeros.npz").stat().st_size < 2**18
    with pytest.raises(UserError, match="claims 134,217,856 bytes when unpacked"):
        read_weights(tmp_path / "zeros.npz")


def test_a_tensor_with_fewer_values_than_its_shape_is_refused(tmp_path):
    torch.save({"stem.proj.weight": torch.zeros(1).as_strided((10**12,), (0,))}, tmp_path / "x.pth")
    with pytest.raises(UserError, match="fewer values"):
        read_weights(tmp_path / "x.pth")
