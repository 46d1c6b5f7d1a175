"""Tiny networks against the paper's equations, written out as loops in numpy.

Token by token: equation 1 (Affine), 2 (A x + b over tokens), 3 (two linear layers), Table 3's other ways for patches to
communicate, Class-MLP, the appendix's options. Float64, a grid that is not square, every parameter random.
"""

import math

import numpy as np
import pytest
import torch

from resmlp.models import create_model

pytestmark = pytest.mark.isa

DIM, DEPTH, PATCH, GRID, CLASSES, BATCH = 8, 2, 2, (3, 4), 5, 2
TOKENS = GRID[0] * GRID[1]


def network(name="resmlp_s12", **changes):
    """A tiny network with random parameters and statistics, in evaluation mode and float64."""
    size = (GRID[0] * PATCH, GRID[1] * PATCH)
    sizes = {"dim": DIM, "depth": DEPTH, "patch_size": PATCH, "img_size": size, "num_classes": CLASSES}
    model = create_model(name, **sizes, **changes).double().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.normal_(std=0.5, generator=generator)
        for key, tensor in model.state_dict().items():
            if key.endswith("running_var"):
                tensor.abs_().add_(0.1)
    return model


def images():
    shape = (BATCH, 3, GRID[0] * PATCH, GRID[1] * PATCH)
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


# the parts of the equations; x is always (tokens, channels) of one image, p a part's parameters by name


def within(p, prefix):
    return {key.removeprefix(prefix + "."): value for key, value in p.items() if key.startswith(prefix + ".")}


ACTIVATIONS = {
    "gelu": lambda v: v * 0.5 * (1 + math.erf(v / math.sqrt(2))),
    "relu": lambda v: max(v, 0.0),
    "silu": lambda v: v / (1 + math.exp(-v)),
    "hardswish": lambda v: v * min(max(v + 3, 0), 6) / 6,
}


def affine(p, x):
    """Equation 1."""
    return np.stack([[p["alpha"][c] * x[t, c] + p["beta"][c] for c in range(x.shape[1])] for t in range(len(x))])


def layernorm(p, x):
    rows = [(row - row.mean()) / math.sqrt(((row - row.mean()) ** 2).mean() + 1e-6) for row in x]
    return np.stack([row * p["weight"] + p["bias"] for row in rows])


def batchnorm(p, x):
    return (x - p["running_mean"]) / np.sqrt(p["running_var"] + 1e-5) * p["weight"] + p["bias"]


NORMS = {"affine": affine, "layernorm": layernorm, "batchnorm": batchnorm, "none": lambda p, x: x}
SCALES = {"layerscale": lambda p, x: x * p["gamma"], "affine": affine, "none": lambda p, x: x}


def matrix_on_columns(weight, bias, x):
    """out[t, c] = sum over s of weight[t, s] x[s, c] + bias[t]"""
    out = np.zeros((len(weight), x.shape[1]))
    for t in range(len(weight)):
        for c in range(x.shape[1]):
            out[t, c] = sum(weight[t, s] * x[s, c] for s in range(len(x))) + bias[t]
    return out


def mlp_on_rows(p, x, activation):
    hidden = np.stack([p["fc1.weight"] @ row + p["fc1.bias"] for row in x])
    hidden = np.vectorize(ACTIVATIONS[activation])(hidden)
    return np.stack([p["fc2.weight"] @ row + p["fc2.bias"] for row in hidden])


def neighbors(t):
    """Of token t: (i, j, other token) of each kernel position inside the grid; beyond the border lie zeros."""
    row, column = divmod(t, GRID[1])
    for i in range(3):
        for j in range(3):
            y, x = row + i - 1, column + j - 1
            if 0 <= y < GRID[0] and 0 <= x < GRID[1]:
                yield i, j, y * GRID[1] + x


def linear(p, x):
    return matrix_on_columns(p["weight"], p["bias"], x)


def token_mlp(p, x):
    hidden = matrix_on_columns(p["fc1.weight"], p["fc1.bias"], x)
    assert len(hidden) == 4 * TOKENS
    return matrix_on_columns(p["fc2.weight"], p["fc2.bias"], np.vectorize(ACTIVATIONS["gelu"])(hidden))


def conv3x3(p, x):
    out = np.tile(p["conv.bias"], (TOKENS, 1))
    for t in range(TOKENS):
        for c in range(DIM):
            for i, j, other in neighbors(t):
                out[t, c] += sum(p["conv.weight"][c, k, i, j] * x[other, k] for k in range(DIM))
    return out


def dwconv(p, x):
    out = np.tile(p["conv.bias"], (TOKENS, 1))
    for t in range(TOKENS):
        for c in range(DIM):
            out[t, c] += sum(p["conv.weight"][c, 0, i, j] * x[other, c] for i, j, other in neighbors(t))
    return out


def sepconv(p, x):
    spatial = dwconv(p, x)
    return np.stack([p["pointwise.weight"][:, :, 0, 0] @ row + p["pointwise.bias"] for row in spatial])


MIXERS = {"linear": linear, "mlp": token_mlp, "conv3x3": conv3x3, "dwconv": dwconv, "sepconv": sepconv}


def patches(p, image):
    """Tokens row by row, each a linear function of one patch."""
    out = np.zeros((TOKENS, DIM))
    for t in range(TOKENS):
        row, column = divmod(t, GRID[1])
        patch = image[:, row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH]
        for c in range(DIM):
            out[t, c] = (p["weight"][c] * patch).sum() + p["bias"][c]
    return out


def class_mlp(p, x, norm, scale, activation):
    """Two layers of {gather [class; patches] into the class token; MLP on it}; the patches never change."""
    cls = p["token"][0]
    for i in range(2):
        g = within(p, f"gathers.{i}")
        normed = NORMS[norm](within(g, "norm"), np.concatenate([cls, x]))
        gathered = matrix_on_columns(g["fn.weight"], g["fn.bias"], normed)
        assert gathered.shape == (1, DIM)
        cls = cls + SCALES[scale](within(g, "scale"), gathered)
        c = within(p, f"channels.{i}")
        hidden = mlp_on_rows(within(c, "fn"), NORMS[norm](within(c, "norm"), cls), activation)
        cls = cls + SCALES[scale](within(c, "scale"), hidden)
    return cls


def reference(model, images, mixer="linear", norm="affine", activation="gelu", scale="layerscale", residual="pre", **_):
    """Logits (images, classes) by the equations, from the network's parameters alone."""
    p = {key: value.numpy() for key, value in model.state_dict().items()}

    def sublayer(p, x, fn):
        if residual == "pre":
            return x + SCALES[scale](within(p, "scale"), fn(within(p, "fn"), NORMS[norm](within(p, "norm"), x)))
        return NORMS[norm](within(p, "norm"), x + SCALES[scale](within(p, "scale"), fn(within(p, "fn"), x)))

    logits = []
    for image in images.numpy():
        x = patches(within(p, "embed.patches.proj"), image)
        if "embed.position.embedding" in p:
            x = x + p["embed.position.embedding"][0]
        for layer in range(DEPTH):
            if mixer != "none":
                x = sublayer(within(p, f"blocks.{layer}.tokens"), x, MIXERS[mixer])
            x = sublayer(within(p, f"blocks.{layer}.channels"), x, lambda p, x: mlp_on_rows(p, x, activation))
        if f"blocks.{DEPTH}.token" in p:  # class-MLP comes after the last layer and shares the last norm
            x = class_mlp(within(p, f"blocks.{DEPTH}"), x, norm, scale, activation)
        x = NORMS[norm](within(p, "norm"), x)
        logits.append(p["head.weight"] @ x.mean(axis=0) + p["head.bias"])
    return np.stack(logits)


def assert_equations_hold(model, **options):
    with torch.no_grad():
        got = model(images()).numpy()
    expected = reference(model, images(), **options)
    assert got.shape == (BATCH, CLASSES)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


ABLATIONS = {
    "resmlp_s12": {},
    "resmlp_s12_layernorm": {"norm": "layernorm"},
    "resmlp_s12_classmlp": {},
    "resmlp_s12_none": {"mixer": "none"},
    "resmlp_s12_mlp": {"mixer": "mlp"},
    "resmlp_s12_conv3x3": {"mixer": "conv3x3"},
    "resmlp_s12_dwconv": {"mixer": "dwconv"},
    "resmlp_s12_sepconv": {"mixer": "sepconv"},
}


@pytest.mark.parametrize("name", ABLATIONS)
def test_rows_of_table_3(name):
    assert_equations_hold(network(name), **ABLATIONS[name])


@pytest.mark.parametrize(
    "options",
    [
        {"activation": "relu"},
        {"activation": "silu"},
        {"activation": "hardswish"},
        {"norm": "batchnorm"},
        {"norm": "none"},
        {"scale": "affine"},
        {"scale": "none"},
        {"residual": "post"},
        {"residual": "post", "norm": "layernorm", "scale": "none"},
        {"pos_embed": True},
        {"mlp_ratio": 1.5},
        {"pool": "classmlp", "norm": "layernorm", "scale": "affine"},
        {"pool": "classmlp", "activation": "relu"},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_options_of_the_appendix(options):
    assert_equations_hold(network(**options), **options)


def test_mixer_of_mlp_mixer():
    model = network("mixer_s16", token_hidden=4 * TOKENS)
    assert_equations_hold(model, mixer="mlp", norm="layernorm", scale="none")


def test_batchnorm_in_training_uses_the_batch_over_all_images_and_tokens():
    from resmlp.nn import TokenBatchNorm

    norm = TokenBatchNorm(DIM).double().train()
    generator = torch.Generator().manual_seed(2)
    x = 3 + 2 * torch.randn(BATCH, TOKENS, DIM, dtype=torch.float64, generator=generator)
    with torch.no_grad():
        norm.weight.normal_(generator=generator)
        norm.bias.normal_(generator=generator)
        got = norm(x)
    for c in range(DIM):
        values = [float(x[b, t, c]) for b in range(BATCH) for t in range(TOKENS)]
        mean = sum(values) / len(values)
        var = sum((v - mean) ** 2 for v in values) / len(values)
        expected = (x[..., c] - mean) / math.sqrt(var + 1e-5) * norm.weight[c] + norm.bias[c]
        torch.testing.assert_close(got[..., c], expected.detach())
        assert float(norm.running_mean[c]) == pytest.approx(0.1 * mean)
        assert float(norm.running_var[c]) == pytest.approx(0.9 + 0.1 * var * len(values) / (len(values) - 1))


def test_class_mlp_leaves_the_patches_frozen():
    model = network("resmlp_s12_classmlp")
    tokens = torch.randn(BATCH, TOKENS, DIM, dtype=torch.float64)
    out = model.blocks[-1](tokens)
    assert out.shape == (BATCH, 1 + TOKENS, DIM)
    assert torch.equal(out[:, 1:], tokens)


def test_without_a_mixer_patches_cannot_see_each_other():
    model, inputs = network("resmlp_s12_none"), images()
    changed = inputs.clone()
    changed[:, :, :PATCH, :PATCH] += 1  # the first patch alone
    with torch.no_grad():
        moved = (model.forward_features(inputs) != model.forward_features(changed)).any(dim=-1)
    assert moved[:, 0].all()
    assert not moved[:, 1:].any()
