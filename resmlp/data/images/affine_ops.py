"""Shear and translation of an image, as Pillow does them to the pixel (nearly) and several times as fast.

Pillow weighs 4 x 4 pixels for each one of the result. But rows, or columns, move as wholes: across them the filter is
1 at one pixel and 0 at the others, and along one its four weights are the same everywhere. Images are uint8 3 H W.
"""

import math

import numpy as np
import torch
from numpy.lib.stride_tricks import as_strided

Color = tuple[int, ...]
"""0 to 255, one a channel: of what lies outside of the image"""

TAPS = 4


def shear_x(image: np.ndarray, factor: float, fill: Color) -> np.ndarray:
    """Row y moves to the left by factor (y + 1/2) pixels."""
    return _move_rows(image, factor * (np.arange(image.shape[1]) + 0.5), fill)


def shear_y(image: np.ndarray, factor: float, fill: Color) -> np.ndarray:
    """Column x moves up by factor (x + 1/2) pixels."""
    return _turned(shear_x(_turned(image), factor, fill))


def translate_x(image: np.ndarray, pixels: float, fill: Color) -> np.ndarray:
    """To the left by so many pixels."""
    return _turned(translate_y(_turned(image), pixels, fill))


def translate_y(image: np.ndarray, pixels: float, fill: Color) -> np.ndarray:
    """Up by so many pixels."""
    channels, height, width = image.shape
    step = math.floor(pixels)
    first, last = (min(max(math.ceil(edge - 0.5 - pixels), 0), height) for edge in (0, height))  # rows from inside
    result = np.empty_like(image)
    result[:] = np.array(fill, np.uint8)[:, None, None]
    if first < last:
        rows = np.arange(first + step - 1, last + step + 2).clip(0, height - 1)
        weights = torch.from_numpy(_taps(np.array([pixels - step])).astype(np.float32))
        for channel, out in zip(image, result):
            _filter(torch.from_numpy(channel[rows]).float().unfold(0, TAPS, 1).mT, weights, out[first:last])
    return result


def _turned(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.transpose(0, 2, 1))


def _move_rows(image: np.ndarray, moves: np.ndarray, fill: Color) -> np.ndarray:
    """Pixel x of row y is what lies at x + moves[y]; beyond the edges `fill`, next to them the edge itself."""
    _, height, width = image.shape
    moves = moves.clip(-width - 1, width + 1)
    steps = np.floor(moves).astype(np.int64)
    margin = int(abs(steps).max()) + TAPS
    length = width + 2 * margin
    starts = np.arange(height) * length + margin + steps - 1
    weights = torch.from_numpy(_taps(moves - steps).astype(np.float32)[..., None])  # 4 H 1
    places = np.arange(width, dtype=np.float32) + (moves + 0.5)[:, None]  # H W
    outside = (places < 0) | (places >= width)
    padded, result = np.empty(height * length, np.uint8), np.empty_like(image)
    rows = padded.reshape(height, length)
    stretches = as_strided(padded, (padded.size - width - TAPS, width + TAPS - 1), (1, 1))  # from every place on
    for channel, color, out in zip(image, fill, result):  # one at a time stays in the cache
        rows[:, margin:-margin] = channel
        rows[:, :margin] = channel[:, :1]
        rows[:, -margin:] = channel[:, -1:]
        _filter(torch.from_numpy(stretches[starts]).float().unfold(1, width, 1), weights, out)
        out[outside] = color
    return result


def _filter(neighbors: torch.Tensor, weights: torch.Tensor, out: np.ndarray) -> None:
    """Weighted sum of four neighbors of each pixel, float32 h 4 w, into uint8 h w; weights 4 1, or 4 h 1."""
    total = neighbors[:, 0] * weights[0]
    for tap in range(1, TAPS):
        total.addcmul_(neighbors[:, tap], weights[tap])
    np.clip(total.numpy(), 0, 255, out=out, casting="unsafe")  # rounds down, as Pillow does


def _taps(d: np.ndarray) -> np.ndarray:
    """Weights of the four pixels around a place, a share d behind the second of them: Keys' cubic filter of a = -1."""
    return np.stack([d * (-1 + d * (2 - d)), 1 + d * d * (d - 2), d * (1 + d * (1 - d)), d * d * (d - 1)])
