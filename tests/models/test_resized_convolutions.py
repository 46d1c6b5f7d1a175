"""What stays of a matrix that is a convolution when it is moved to another grid, by closed forms."""

import math

import pytest
import torch

from resmlp.nn.grid_resampling import mix, resampling

GRIDS = [((8, 8), (12, 12)), ((8, 8), (16, 16)), ((8, 8), (8, 16)), ((24, 24), (16, 16)), ((24, 20), (16, 16))]


def box(grid: tuple[int, int], periodic: bool) -> torch.Tensor:
    """The matrix N N of the mean over 3 x 3 tokens; outside the image are zeros, or the other side of it."""
    rows, columns = grid
    matrix = torch.zeros(rows * columns, rows * columns, dtype=torch.float64)
    for y in range(rows):
        for x in range(columns):
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    inside = 0 <= y + dy < rows and 0 <= x + dx < columns
                    if inside or periodic:
                        matrix[y * columns + x, (y + dy) % rows * columns + (x + dx) % columns] += 1 / 9
    return matrix


def interior(grid: tuple[int, int], margin: float) -> torch.Tensor:
    """The tokens of which every neighbor within `margin` of the side is inside: bool N."""
    rows, columns = grid
    y, x = torch.meshgrid(torch.arange(rows) + 0.5, torch.arange(columns) + 0.5, indexing="ij")
    kept = [(axis > margin * side) & (axis < side - margin * side) for axis, side in ((y, rows), (x, columns))]
    return (kept[0] & kept[1]).flatten()


@pytest.mark.parametrize("grid", [(8, 8), (5, 9)])
def test_the_same_grid_is_the_identity_exactly(grid):
    matrix = torch.randn(math.prod(grid), math.prod(grid), dtype=torch.float64)
    step = resampling(grid, grid)
    assert torch.equal(step.values, torch.eye(math.prod(grid), dtype=torch.float64))
    torch.testing.assert_close(mix(matrix, step), matrix, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("old", "new"), GRIDS)
def test_a_periodic_mean_of_a_constant_image_is_the_constant(old, new):
    moved = mix(box(old, periodic=True), resampling(old, new))
    constant = torch.full((math.prod(new),), 3.0, dtype=torch.float64)
    torch.testing.assert_close(moved @ constant, constant)


@pytest.mark.parametrize(("old", "new"), GRIDS)
@pytest.mark.parametrize("axis", [0, 1])
def test_a_mean_of_a_linear_image_is_the_image_in_the_interior(old, new, axis):
    """A symmetric filter keeps a ramp; near the border the zeros around the image are seen."""
    moved = mix(box(old, periodic=False), resampling(old, new))
    coordinates = torch.meshgrid(*((torch.arange(n, dtype=torch.float64) + 0.5) / n for n in new), indexing="ij")
    ramp = coordinates[axis].flatten()
    inside = interior(new, 0.3)
    assert inside.any()
    torch.testing.assert_close((moved @ ramp)[inside], ramp[inside], rtol=0, atol=0.02)


def test_a_convolution_stays_the_same_at_each_place_of_the_interior():
    """Twice as many tokens: rows that are two apart, of the same phase, are the same kernel, moved by two tokens."""
    old, new = (10, 10), (20, 20)
    moved = mix(box(old, periodic=False), resampling(old, new)).reshape(20, 20, 20, 20)
    for y, x in ((9, 9), (9, 10)):
        here, there = moved[y, x, 4:14, 4:14], moved[y + 2, x, 6:16, 4:14]
        torch.testing.assert_close(here, there, rtol=0, atol=0.01)
        assert here.abs().max() > 0.02
