"""scikit-learn's digits, which need no files."""

import numpy as np

from resmlp.config import Data
from resmlp.data.images.imageset import ImageSet, Splits, split
from resmlp.imaging.image_file import ImageSource, Pixels

DIGITS_VAL = 360  # of 1,797


def digits_splits(data: Data) -> Splits:
    """scikit-learn's 1,797 gray digits of 8x8 pixels with values 0 to 16; 360 of them are the validation set."""
    from sklearn.datasets import load_digits  # the import takes over a second
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    pixels = (digits.images * (255 / 16)).round().astype(np.uint8)
    images: list[ImageSource] = [Pixels(f"digit {i}", image) for i, image in enumerate(pixels)]
    digits_ = ImageSet(tuple("0123456789"), digits.target.tolist(), images)
    if data.folds or data.group_by:
        return split(digits_, data)
    train, val = train_test_split(
        range(len(digits_)), test_size=DIGITS_VAL, stratify=digits_.labels, random_state=data.split_seed
    )
    return Splits(digits_.subset(sorted(train)), digits_.subset(sorted(val)))
