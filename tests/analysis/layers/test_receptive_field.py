"""Weights by distance and receptive fields against closed forms, loops, and whole Jacobians."""

import math

import numpy as np
import pytest
import torch

from resmlp.analysis.layers.anatomy import Layer
from resmlp.analysis.layers.receptive_field import center, distance_curve, radius, receptive_fields, squared_distances
from resmlp.nn import LinearMixer, Residual, TriangularMixer, convolution_matrix

from .networks import GRID, KERNEL, TOKENS, mixers, network, noise


def layer_of(mixer, grid) -> Layer:
    nothing = torch.nn.Identity()
    return Layer(0, "layer 0", grid, {"tokens": Residual(nothing, mixer, nothing)})


def matrix_of(weight, kind=LinearMixer):
    mixer = kind(len(weight), len(weight))
    with torch.no_grad():
        mixer.weight.copy_(weight)
    return mixer


def test_the_distance_curve_of_a_convolution():
    kernel = torch.tensor([[4.0, 2, 4], [2, -1, 2], [4, 2, 4]])
    curve = distance_curve(layer_of(matrix_of(convolution_matrix(kernel, GRID)), GRID))
    mean = float(convolution_matrix(kernel, GRID).abs().mean())
    near = dict(zip(curve.distances.tolist(), curve.weights * mean))
    for distance, weight in {0.0: 1, 1.0: 2, math.sqrt(2): 4}.items():
        assert near.pop(distance) == pytest.approx(weight)
    assert not any(near.values())


@pytest.mark.parametrize("kind", [LinearMixer, TriangularMixer])
def test_the_distance_curve_by_a_loop(kind):
    grid = (1, 7) if kind is TriangularMixer else (3, 4)
    tokens = math.prod(grid)
    mixer = matrix_of(torch.randn(tokens, tokens), kind)
    curve = distance_curve(layer_of(mixer, grid))
    sums, weighed, total, pairs = {}, 0.0, 0.0, 0
    for i, row in enumerate(mixer.weight.tolist()):
        for j, weight in enumerate(row[: i + 1] if kind is TriangularMixer else row):
            distance = math.hypot(i // grid[1] - j // grid[1], i % grid[1] - j % grid[1])
            sums.setdefault(distance, []).append(abs(weight))
            weighed, total, pairs = weighed + distance * abs(weight), total + abs(weight), pairs + 1
    assert curve.distances.tolist() == sorted(sums)
    expected = [sum(sums[d]) / len(sums[d]) / (total / pairs) for d in sorted(sums)]
    assert curve.weights == pytest.approx(expected, rel=1e-6)
    assert curve.mean == pytest.approx(weighed / total)


@pytest.mark.parametrize("kind", ["conv3x3", "dwconv", "sepconv", "linear"])
def test_receptive_fields_of_convolutions_grow_by_one_patch_a_layer(kind):
    trunk = network(mixer=kind, layer_scale=0.5)
    if kind == "linear":
        with torch.no_grad():
            for mixer in mixers(trunk):
                mixer.weight.copy_(convolution_matrix(KERNEL, GRID))
    fields = receptive_fields(trunk, noise(trunk, 2))
    row, column = center(GRID)
    for number, field in enumerate(fields, 1):
        expected = np.zeros(GRID, bool)
        expected[max(row - number, 0) : row + number + 1, max(column - number, 0) : column + number + 1] = True
        assert ((field > 0) == expected).all()
        assert expected.sum() == (2 * number + 1) ** 2
    assert all(parameter.requires_grad for parameter in trunk.parameters())


@pytest.mark.isa
def test_the_receptive_field_of_a_linear_layer_is_its_row():
    trunk = network(norm="none", layer_scale=0.5, depth=1)
    with torch.no_grad():
        trunk.blocks[0].channels.scale.gamma.zero_()
    (field,) = receptive_fields(trunk, noise(trunk))
    at = np.ravel_multi_index(center(GRID), GRID)
    expected = 0.5 * mixers(trunk)[0].weight[at].detach().numpy()
    expected[at] += 1  # the skip connection
    np.testing.assert_allclose(field.ravel(), np.abs(expected), rtol=1e-5)


@pytest.mark.isa
@pytest.mark.parametrize("changes", [{"mixer": "attention", "heads": 2, "pool": "classtoken"}, {"pool": "classmlp"},
                                     {"residual": "post", "norm": "layernorm"}, {"mixer": "mlp"}])  # fmt: skip
def test_receptive_fields_by_the_whole_jacobian(changes):
    trunk = network(depth=2, layer_scale=0.5, **changes)
    images = noise(trunk, 200)[:1] * 200  # one image with many random signs
    fields = receptive_fields(trunk, images)
    stem = trunk.embed(images[0][None]).detach()
    at = np.ravel_multi_index(center(GRID), GRID) - TOKENS

    def central(x):
        return trunk.blocks[1](trunk.blocks[0](x))[0, at]

    jacobian = torch.autograd.functional.jacobian(central, stem)[:, 0, -TOKENS:]  # D N D
    expected = jacobian.double().square().sum((0, 2)).div(jacobian.shape[2]).sqrt().numpy()
    assert fields.shape == (2, *GRID)
    np.testing.assert_allclose(fields[1].ravel(), expected, rtol=0.35)
    assert np.corrcoef(fields[1].ravel(), expected)[0, 1] > 0.98


def test_radius():
    field = np.zeros((5, 7))
    assert radius(field) == 0
    field[center(field.shape)] = 3
    assert radius(field) == 0
    field[2, 6] = 1  # three to the right
    assert radius(field) == pytest.approx(1.5)
    assert squared_distances((2, 3)).tolist()[0] == [0, 1, 4, 1, 2, 5]
