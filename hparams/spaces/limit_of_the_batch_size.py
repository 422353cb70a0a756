"""Learning rate x warm-up epochs of "The Limit of the Batch Size", for GridSearch with LARS and with momentum SGD.

- figure_2: batch 819,200, recipes imagenet_resnet50.py:optimization_2 (SGD), _3, _4 (LARS).
- figure_7: all images an update, imagenet_resnet50.py:full_batch_2 to _4; figures 15 and 16 with cifar10_resnet50.py
  and mnist_lenet.py:full_batch_lars.
- mnist_8192: LeNet at batch 8,192, mnist_lenet.py:lars_polynomial or :sgd, with few epochs, as --config.epochs=5.
- table_4: learning rate x momentum at batch 131,072, imagenet_resnet50.py:batch_128k; the paper's numbers.

The numbers of the figures' grids are in pictures without text in our copy, and those here are *ours*: 1/4 to 2 times
the recipe's own rate; warm-ups of 5, 15, 25 and 35 of 90 epochs, scaled to the recipe's, for figures 2 and 7 (25 is
Table 4's); of 0, 10%, 20% and 40% of the epochs for mnist_8192 (RESULTS.md found 10 of 30 for LARS).

Source: sections 3.1, 3.2 and 6.4 of `limit-of-the-batch-size.txt`.
"""

from __future__ import annotations

import keras_tuner
import ml_collections

from tflbt.tuning import space

TIMES = (0.25, 0.5, 1.0, 2.0)  # the recipe's rate
NINETIETHS = (5, 15, 25, 35)  # of the epochs


def get_space(
    config: ml_collections.ConfigDict, name: str = "figure_2"
) -> keras_tuner.HyperParameters:
    """Returns the space of that name, with the recipe's own values tried first where the grid has them."""
    grid = space.named(SPACES, name)(config)
    hp = keras_tuner.HyperParameters()
    for key, values in grid.items():
        own = space.value_of(config, key)
        hp.Choice(key, values, default=own if own in values else None)
    return hp


def _figure(config: ml_collections.ConfigDict) -> dict[str, list[float]]:
    return {
        "optimizer.learning_rate": _rates(config),
        "warmup.epochs": [config.epochs * number / 90 for number in NINETIETHS],
    }


def _mnist_8192(config: ml_collections.ConfigDict) -> dict[str, list[float]]:
    return {
        "optimizer.learning_rate": _rates(config),
        "warmup.epochs": [config.epochs * tenths / 10 for tenths in (0, 1, 2, 4)],
    }


def _table_4(config: ml_collections.ConfigDict) -> dict[str, list[float]]:
    return {
        "optimizer.learning_rate": [26.0, 28.0, 30.0, 32.0],
        "optimizer.momentum": [0.94429, 0.95],
    }


def _rates(config: ml_collections.ConfigDict) -> list[float]:
    return [config.optimizer.learning_rate * times for times in TIMES]


SPACES = {
    "figure_2": _figure,
    "figure_7": _figure,
    "mnist_8192": _mnist_8192,
    "table_4": _table_4,
}
