"""The network of DARTS on CIFAR-10: batch augmentation, Table 1 of its paper, where it is the best.

baseline; m10, M = 10 instances of each sample.

`batch-augmentation.txt`, section 3.1, "DARTS final Cifar10 model", trained as its authors do (Liu, Simonyan and Yang
2018, `cnn/train.py` of github.com/quark0/darts): B = 96, 600 epochs, learning rate 0.025 that falls to 0 along a
cosine, momentum 0.9, weight decay 3e-4, gradients clipped to a norm of 5, 4 black pixels padded, squares of 16 pixels
cut out. Theirs and not here: an auxiliary head, and drop path that grows with the epochs (`tflbt.models.darts`).

The instances of a sample are in different sub-batches of 96. On R ranks add --config.sub_batch_size=N with N = 96 / R
to m10.
"""

from __future__ import annotations

import ml_collections

from tflbt import recipes

B = 96
INSTANCES = {"baseline": 1, "m10": 10}
VARIANTS = tuple(INSTANCES)


def get_config(variant: str = "m10") -> ml_collections.ConfigDict:
    """Returns the configuration of a variant."""
    config = recipes.start(__file__, variant, VARIANTS)
    config.epochs = 600
    config.batch_size = B * INSTANCES[variant]
    if INSTANCES[variant] > 1:  # else ranks take their share of the 96 at once
        config.sub_batch_size = B
    config.batch_augmentation.update({"instances": INSTANCES[variant], "placement": "rank"})
    config.data.update({"name": "cifar10", "standardize": "per_channel"})
    config.data.update({"padding": 4, "pad_with": "black", "flip": True, "cutout_size": 16})
    config.schedule.update({"name": "cosine", "grain": "epoch"})
    config.model = recipes.section("model", "darts", drop_path=0.2, weight_decay=3e-4)
    config.optimizer = recipes.section(
        "optimizer", "SGD", learning_rate=0.025, momentum=0.9, global_clipnorm=5.0
    )
    return config
