"""Logits in float64 against timm's implementations and against the authors' forward pass, written out from their keys.

Every tensor is random (Affines, LayerScales and biases too) at scales that keep activations of order one. The weights
take the road a user's take: a file in the other dialect, then `create_model(name, checkpoint=file)`.
"""

import math

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from timm.models import mlp_mixer

from resmlp.models import create_model


def random_state(shapes, seed=0):
    """A random tensor for each key, neither blowing up nor vanishing over 36 layers."""
    generator = torch.Generator().manual_seed(seed)

    def draw(key, shape):
        noise = torch.empty(shape).normal_(generator=generator)
        last = key.rsplit(".", 1)[-1]
        if last in ("ls1", "ls2", "gamma_1", "gamma_2"):
            return 0.2 + 0.1 * noise
        if last == "alpha" or (last == "weight" and len(shape) == 1):
            return 1 + 0.1 * noise
        if last == "weight":
            return noise / math.sqrt(math.prod(shape[1:]))
        return 0.1 * noise  # biases, betas, embeddings

    return {key: draw(key, tuple(shape)) for key, shape in shapes.items()}


def timm_with_random_weights(name, blocks=12):
    with torch.device("meta"):  # its own initialization would be thrown away
        model = timm.create_model(name, pretrained=False)
        model.blocks = model.blocks[:blocks]
    state = random_state({key: value.shape for key, value in model.state_dict().items()})
    model.load_state_dict(state, assign=True)
    return model.eval().double(), state


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads that wait for each other on busy cores make a forward pass ten times slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def no_initialization(monkeypatch):
    """Skip draws that the loaded weights replace."""
    for name in ("trunc_normal_", "kaiming_uniform_", "uniform_"):
        monkeypatch.setattr(torch.nn.init, name, lambda tensor, *args, **kwargs: tensor)


def assert_same_logits(ours, theirs, images):
    with torch.inference_mode():
        expected, got = theirs(images.double()), ours.eval().double()(images.double())
    assert 0.1 < expected.std() < 10, "the comparison means nothing for logits that vanish or blow up"
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("resmlp_12_224", 12),
        ("resmlp_24_224", 2),  # two blocks of a network are as all of them, which test_counts.py counts
        ("resmlp_36_224", 2),
        ("mixer_b16_224", 2),
        ("mixer_l16_224", 2),
        ("resmlp_big_24_224", 2),
    ],
)
@pytest.mark.usefixtures("no_initialization")
def test_logits_equal_timm(name, blocks, tmp_path):
    theirs, state = timm_with_random_weights(name, blocks)
    file = tmp_path / "theirs.safetensors"
    save_file(state, file)
    ours = create_model(name, depth=blocks, checkpoint=str(file))
    assert_same_logits(ours, theirs, torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1)))


@pytest.mark.isa
def test_a_pth_file_of_timms_says_how_many_classes(tmp_path):
    sizes = {"num_classes": 7, "img_size": 32, "patch_size": 4, "embed_dim": 24, "num_blocks": 2, "mlp_ratio": 4}
    theirs = mlp_mixer.MlpMixer(**sizes, block_layer=mlp_mixer.ResBlock, norm_layer=mlp_mixer.Affine)
    state = random_state({key: value.shape for key, value in theirs.state_dict().items()})
    theirs.load_state_dict(state)
    torch.save(state, tmp_path / "theirs.pth")
    file = str(tmp_path / "theirs.pth")
    ours = create_model("resmlp_s12", dim=24, depth=2, patch_size=4, img_size=32, checkpoint=file)
    assert ours.head.out_features == 7
    assert_same_logits(ours, theirs.eval().double(), torch.randn(2, 3, 32, 32))


@pytest.mark.usefixtures("no_initialization")
def test_deit_small_equals_timm():
    theirs, state = timm_with_random_weights("deit_small_patch16_224")
    ours = create_model("deit_small_patch16_224")
    renamed = {
        "embed.cls.token": state["cls_token"],
        "embed.position.embedding": state["pos_embed"],
        **{f"embed.patches.proj.{end}": state[f"patch_embed.proj.{end}"] for end in ("weight", "bias")},
        **{f"norm.{end}": state[f"norm.{end}"] for end in ("weight", "bias")},
        **{f"head.{end}": state[f"head.{end}"] for end in ("weight", "bias")},
    }
    parts = {
        "norm1": "tokens.norm",
        "attn.qkv": "tokens.fn.qkv",
        "attn.proj": "tokens.fn.proj",
        "norm2": "channels.norm",
        "mlp.fc1": "channels.fn.fc1",
        "mlp.fc2": "channels.fn.fc2",
    }
    for layer in range(12):
        for old, new in parts.items():
            for end in ("weight", "bias"):
                renamed[f"blocks.{layer}.{new}.{end}"] = state[f"blocks.{layer}.{old}.{end}"]
    assert len(renamed) == len(state)
    ours.load_state_dict(renamed)
    assert_same_logits(ours, theirs, torch.randn(1, 3, 224, 224))


# the authors' network (facebookresearch/deit, resmlp_models.py), a forward pass written from its keys

DIM, DEPTH, PATCH, SIDE, CLASSES = 24, 3, 4, 16, 5
TOKENS = (SIDE // PATCH) ** 2


def official_shapes():
    shapes = {
        "patch_embed.proj.weight": (DIM, 3, PATCH, PATCH),
        "patch_embed.proj.bias": (DIM,),
        "norm.alpha": (DIM,),
        "norm.beta": (DIM,),
        "head.weight": (CLASSES, DIM),
        "head.bias": (CLASSES,),
    }
    for layer in range(DEPTH):
        block = {
            "norm1.alpha": (DIM,),
            "norm1.beta": (DIM,),
            "attn.weight": (TOKENS, TOKENS),
            "attn.bias": (TOKENS,),
            "gamma_1": (DIM,),
            "norm2.alpha": (DIM,),
            "norm2.beta": (DIM,),
            "mlp.fc1.weight": (4 * DIM, DIM),
            "mlp.fc1.bias": (4 * DIM,),
            "mlp.fc2.weight": (DIM, 4 * DIM),
            "mlp.fc2.bias": (DIM,),
            "gamma_2": (DIM,),
        }
        shapes |= {f"blocks.{layer}.{key}": shape for key, shape in block.items()}
    return shapes


def official_forward(s, images):
    x = F.conv2d(images, s["patch_embed.proj.weight"], s["patch_embed.proj.bias"], stride=PATCH)
    x = x.flatten(2).transpose(1, 2)
    for i in range(DEPTH):
        b = {k.removeprefix(f"blocks.{i}."): v for k, v in s.items() if k.startswith(f"blocks.{i}.")}
        normed = b["norm1.alpha"] * x + b["norm1.beta"]
        x = x + b["gamma_1"] * F.linear(normed.transpose(1, 2), b["attn.weight"], b["attn.bias"]).transpose(1, 2)
        normed = b["norm2.alpha"] * x + b["norm2.beta"]
        hidden = F.gelu(F.linear(normed, b["mlp.fc1.weight"], b["mlp.fc1.bias"]))
        x = x + b["gamma_2"] * F.linear(hidden, b["mlp.fc2.weight"], b["mlp.fc2.bias"])
    x = (s["norm.alpha"] * x + s["norm.beta"]).mean(dim=1)
    return F.linear(x, s["head.weight"], s["head.bias"])


WRAPPINGS = {
    "bare": lambda s: s,
    "model": lambda s: {"model": s, "epoch": 3},
    "state_dict": lambda s: {"state_dict": s},
    "module.": lambda s: {f"module.{k}": v for k, v in s.items()},
    "model and module.": lambda s: {"model": {f"module.{k}": v for k, v in s.items()}},
}


@pytest.mark.isa
@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_logits_equal_the_authors(wrapping, tmp_path):
    state = random_state(official_shapes())
    torch.save(WRAPPINGS[wrapping](state), tmp_path / "official.pth")
    ours = create_model(
        "resmlp_s12", dim=DIM, depth=DEPTH, patch_size=PATCH, img_size=SIDE, checkpoint=str(tmp_path / "official.pth")
    )
    exact = {key: tensor.double() for key, tensor in state.items()}
    assert_same_logits(ours, lambda images: official_forward(exact, images), torch.randn(3, 3, SIDE, SIDE))
