"""scikit-learn's handwritten digits: 1,797 real 8x8 images that need no file and no network."""

from __future__ import annotations

import numpy as np

from tflbt import checks
from tflbt.data.sets.image_data import ImageData

_TEST_SHARE = 0.2  # of each class


@checks.arguments
def load_digits(seed: int = 0) -> ImageData:
    """Loads the digits, with a stratified 20% of them for testing.

    The images are the 8x8 bitmaps of the UCI "Optical Recognition of Handwritten Digits" test set (Alpaydin and Kaynak,
    1998) as scikit-learn ships them: each pixel counts the ink in a 4x4 block, 0 .. 16. The integers are not rescaled.

    Args:
        seed: Seed of the split, 0 .. 2^32 - 1; the same seed gives the same split everywhere.

    Returns:
        1,437 training and 360 test images of shape `[8, 8, 1]`, 10 classes.

    Raises:
        ValueError: If the seed is out of its range.

    Example:
        >>> data = load_digits()
        >>> data.x_train.shape, data.x_test.shape, int(data.x_train.max())
        ((1437, 8, 8, 1), (360, 8, 8, 1), 16)
    """
    checks.whole("seed", seed, at_least=0, at_most=2**32 - 1)
    from sklearn import datasets, model_selection  # it takes a while to import

    bunch = datasets.load_digits()
    images = bunch.images.astype(np.uint8)[..., np.newaxis]
    labels = bunch.target.astype(np.int64)
    x_train, x_test, y_train, y_test = model_selection.train_test_split(
        images, labels, test_size=_TEST_SHARE, random_state=seed, stratify=labels
    )
    return ImageData(x_train, y_train, x_test, y_test, classes=10, name="digits")
