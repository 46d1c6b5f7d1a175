"""A class for each pixel of an image of any size, by a network that sees windows of one size.

The memory that this takes does not grow with the image, but for the image and its labels themselves: the logits of
at most 1 GiB of pixels are held, and a pixel's are turned into its class when no other window will touch it.

B windows of h x w, H W the image's size, K classes.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

BATCH = 8
"""windows that the network sees at once"""
HELD = 2**30
"""bytes of the logits that are added up at a time"""

See = Callable[[Tensor], Tensor]
"""uint8 B 3 h w -> float32 B K h w"""
Size = tuple[int, int]
Block = tuple[slice, slice, Tensor]


def sliding(
    see: See,
    image: Tensor,
    window: Size,
    step: Size,
    num_classes: int,
    *,
    size: Size | None = None,
    fill: Sequence[int] = (0, 0, 0),
    batch: int = BATCH,
) -> Tensor:
    """uint8 3 H W -> the likeliest class of each pixel, int16 H W on the CPU; -1 where a logit is not finite.

    Windows are `step` (down, across) apart, the last one flush with the border; logits are averaged where windows
    overlap. An image that is smaller than the window lies in its upper left corner, on the color `fill`. With a
    `size` (height, width) other than the image's the averaged logits are stretched to it (bilinear) before the
    likeliest class is taken; they are then held for the whole image as `image` has it.
    """
    if not all(0 < own <= side for own, side in zip(step, window)):
        raise ValueError(f"windows of {window} in steps of {step} leave gaps")
    batch = max(1, min(batch, HELD // (16 * num_classes * window[0] * window[1])))
    blocks = averaged(see, image, window, step, num_classes, fill, batch)
    own = image.shape[-2:]
    if size is None or tuple(size) == tuple(own):
        labels = torch.empty(own, dtype=torch.int16)
        for rows, columns, logits in blocks:
            labels[rows, columns] = likeliest(logits)
        return labels
    whole = torch.empty(0)
    for rows, columns, logits in blocks:
        if not len(whole):
            whole = logits.new_empty(num_classes, *own)
        whole[:, rows, columns] = logits
    return stretched(whole, size)


def likeliest(logits: Tensor) -> Tensor:
    """K H W -> int16 H W on the CPU, -1 where one of the K is NaN or the largest is infinite."""
    most, index = logits.max(0)
    return index.masked_fill_(~most.isfinite(), -1).to(torch.int16).cpu()


def starts(length: int, window: int, step: int) -> list[int]:
    """Where the windows along a side of `length` begin: every `step`, and the last one flush with its end."""
    last = max(length - window, 0)
    return [*range(0, last, step), last]


def averaged(
    see: See, image: Tensor, window: Size, step: Size, num_classes: int, fill: Sequence[int], batch: int
) -> Iterator[Block]:
    """The mean logits of the windows over each pixel, as (rows, columns, K rows columns) that tile the image.

    A block's logits are good until the next one is asked for. Where the rows of one window across the whole image
    would exceed `HELD`, it is done in strips, and windows on their borders are seen twice.
    """
    height, width = image.shape[-2:]
    tops, lefts = (starts(*side) for side in zip((height, width), window, step))
    down, across = (_cover(*side) for side in zip((height, width), (tops, lefts), window))
    most = max(window[1], HELD // (4 * num_classes * window[0]))
    for left in range(0, width, most):
        columns = slice(left, min(left + most, width))
        own = [x for x in lefts if x < columns.stop and x + window[1] > left]
        band = torch.empty(0)
        for top, following in zip(tops, [*tops[1:], height]):
            for first in range(0, len(own), batch):
                corners = own[first : first + batch]
                logits = see(torch.stack([_cut(image, top, x, window, fill) for x in corners]))
                if not len(band):
                    band = logits.new_zeros(num_classes, window[0], columns.stop - left)
                for x, found in zip(corners, logits):
                    start, end = max(x, left), min(x + window[1], columns.stop)
                    band[:, :, start - left : end - left] += found[:, :, start - x : end - x]
            done = band[:, : following - top]
            counts = down[top:following, None] * across[None, columns]
            yield slice(top, following), columns, done.div_(counts.to(band.device))
            _scroll(band, following - top)


def stretched(logits: Tensor, size: Size) -> Tensor:
    """K h w -> the likeliest class of each pixel of `size`, int16 H W; the logits are interpolated bilinearly.

    What `interpolate(logits, size, mode="bilinear")` and then `likeliest` would give, some rows at a time.
    """
    classes, height, _ = logits.shape
    most = max(1, HELD // (8 * classes * size[1]))
    labels = torch.empty(size, dtype=torch.int16)
    for top in range(0, size[0], most):
        rows = torch.arange(top, min(top + most, size[0]), device=logits.device)
        at = ((rows + 0.5) * (height / size[0]) - 0.5).clamp(0, height - 1)
        above = at.floor().long()
        below = (above + 1).clamp(max=height - 1)
        lines = logits[:, above].lerp(logits[:, below], (at - above)[:, None])  # K rows w
        wide = F.interpolate(lines[None], (len(rows), size[1]), mode="bilinear", align_corners=False)[0]
        labels[top : top + len(rows)] = likeliest(wide)
    return labels


def _cover(length: int, starts: Sequence[int], window: int) -> Tensor:
    """How many windows lie over each place of a side: int64 of `length`."""
    counts = torch.zeros(length, dtype=torch.int64)
    for start in starts:
        counts[start : start + window] += 1
    return counts


def _cut(image: Tensor, top: int, left: int, window: Size, fill: Sequence[int]) -> Tensor:
    """The window of an image, uint8 3 h w; what is beyond the border is `fill`."""
    found = image[:, top : top + window[0], left : left + window[1]]
    if tuple(found.shape[1:]) == tuple(window):
        return found
    canvas = torch.tensor(fill, dtype=image.dtype, device=image.device)[:, None, None].repeat(1, *window)
    canvas[:, : found.shape[1], : found.shape[2]] = found
    return canvas


def _scroll(band: Tensor, rows: int) -> None:
    """Move K h W up by some rows, in place and without a copy of it; what comes in from below is 0."""
    height = band.shape[1]
    for top in range(0, height - rows, rows):
        end = min(top + rows, height - rows)
        band[:, top:end] = band[:, top + rows : end + rows]
    band[:, max(0, height - rows) :] = 0
