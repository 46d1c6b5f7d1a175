"""Filters of matrices with known rows."""

import math

import numpy as np
import pytest
import torch

from resmlp.analysis.layers.anatomy import of_trunk
from resmlp.analysis.layers.filters import central_patches, draw_filters, filters_of, mosaic
from resmlp.nn import convolution_matrix

from .networks import GRID, KERNEL, mixers, network


@pytest.mark.parametrize("grid", [(14, 14), (28, 28), (9, 11), (7, 7), (4, 4), (3, 8), (1, 5)])
def test_central_patches_are_centered(grid):
    patches = central_patches(grid)
    rows, columns = ({number // grid[1] for number in patches}, {number % grid[1] for number in patches})
    assert patches == sorted(patches)
    assert len(patches) == len(rows) * len(columns) == min(grid[0], 6) * min(grid[1], 6)
    for used_, side in ((rows, grid[0]), (columns, grid[1])):
        assert 0 <= side - 1 - max(used_) - min(used_) <= 1


def test_filters_of_an_embedded_convolution_are_its_kernel_at_the_patch():
    trunk = network()
    mixer = mixers(trunk)[1]
    with torch.no_grad():
        mixer.weight.copy_(convolution_matrix(KERNEL, GRID))
    filters = filters_of(mixer, GRID)
    assert len(filters.images) == 36
    for number, image in zip(filters.numbers, filters.images):
        expected = np.zeros(GRID)
        for dy in (-1, 0, 1):  # F.conv2d is a correlation: the weight at offset (dy, dx) is the kernel's there
            for dx in (-1, 0, 1):
                y, x = number // GRID[1] + dy, number % GRID[1] + dx
                expected[y, x] = KERNEL[1 + dy, 1 + dx]
        assert (image == expected).all()


def test_the_mosaic_has_each_image_at_its_corner():
    filters = filters_of(mixers(network())[0], GRID)
    canvas, corners = mosaic(filters)
    assert canvas.shape == (6 * GRID[0] + 5, 6 * GRID[1] + 5)
    for (row, column), image in zip(corners, filters.images):
        assert (canvas[row : row + GRID[0], column : column + GRID[1]] == image).all()
    assert np.isfinite(canvas).sum() == filters.images.size


def test_gaps_between_images_are_framed(tmp_path, monkeypatch):
    """Zero weights and gaps are both white; gray frames separate them."""
    from matplotlib.figure import Figure

    drawn, draw = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (drawn.append(self.axes[0]), draw(self, *a, **k)))
    anatomy = of_trunk(network())
    draw_filters(anatomy.layers, tmp_path / "filters.png")
    (frames,) = [each for each in drawn[0].collections if len(each.get_paths()) == 36]
    _, corners = mosaic(filters_of(anatomy.layers[0].mixer, GRID))
    for path, (row, column) in zip(frames.get_paths(), corners):
        low, high = path.get_extents().get_points()
        assert (low == (column - 0.5, row - 0.5)).all()
        assert (high - low == (GRID[1], GRID[0])).all()


def test_hidden_units_of_a_token_mlp_are_ordered_by_norm():
    mixer = mixers(network(mixer="mlp"))[0]
    filters = filters_of(mixer, GRID)
    norms = [math.sqrt(sum(w * w for w in row)) for row in mixer.fc1.weight.tolist()]
    assert list(filters.numbers) == sorted(range(len(norms)), key=lambda i: -norms[i])[:36]
    for number, image in zip(filters.numbers, filters.images):
        assert image.ravel().tolist() == mixer.fc1.weight[number].tolist()


@pytest.mark.parametrize("kind", ["dwconv", "sepconv"])
def test_kernels_of_channels(kind):
    mixer = mixers(network(mixer=kind))[0]
    filters = filters_of(mixer, GRID)
    assert list(filters.numbers) == list(range(8))
    assert (filters.images == mixer.conv.weight[:, 0].detach().numpy()).all()


def test_the_strongest_kernels_of_a_full_convolution():
    mixer = mixers(network(mixer="conv3x3", dim=16))[0]
    with torch.no_grad():
        mixer.conv.weight[3, 5] = KERNEL
        mixer.conv.weight[15, 0] = KERNEL / 2
    filters = filters_of(mixer, GRID)
    assert len(filters.images) == 64
    assert list(filters.numbers[:2]) == [3 * 16 + 5, 15 * 16]
    assert (filters.images[0] == KERNEL.numpy()).all()


@pytest.mark.parametrize("kind", ["attention", "none"])
def test_a_mixer_without_a_matrix_has_no_filters(kind, tmp_path):
    anatomy = of_trunk(network(mixer=kind, heads=2))
    assert not draw_filters(anatomy.layers, tmp_path / "filters.png")
    assert not list(tmp_path.iterdir())
