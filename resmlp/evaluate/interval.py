"""How far an accuracy may be off, given how many pictures it was counted on."""

import numpy as np

DRAWS = 10_000


def bootstrap(right: int, pictures: int, seed: int = 0) -> tuple[float, float] | None:
    """95 % percentile interval of `right / pictures` over resampled sets of pictures (Efron 1979); None without any.

    To draw n pictures with replacement of which a share p is right is a draw from the binomial (n, p), and so that is
    what is drawn, 10,000 times. Where all or none are right every draw is the same, and the interval a point.
    """
    if not pictures:
        return None
    draws = np.random.default_rng(seed).binomial(pictures, right / pictures, DRAWS)
    low, high = np.percentile(draws, (2.5, 97.5)) / pictures
    return float(low), float(high)
