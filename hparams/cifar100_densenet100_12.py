"""DenseNet-BC-100-12 on CIFAR-100: batch augmentation, Table 1 of its paper.

baseline; m4, M = 4 instances of each sample.

`batch-augmentation.txt`, section 3.1, trained as its authors do (Huang et al. 2017, section 4.2): B = 64, 300 epochs,
learning rate 0.1 divided by 10 at half and at three quarters of them, Nesterov momentum 0.9, weight decay 1e-4, images
shifted and flipped, each channel standardised, no dropout. The pad is black, as in the code of the paper's first
author. "DenseNet100-12" is the one with bottlenecks and compression (`tflbt.models.densenet`).

The instances of a sample are in different sub-batches of 64. On R ranks add --config.sub_batch_size=N with N = 64 / R
to m4.
"""

from __future__ import annotations

import ml_collections

from tflbt import recipes

B = 64
INSTANCES = {"baseline": 1, "m4": 4}
VARIANTS = tuple(INSTANCES)


def get_config(variant: str = "m4") -> ml_collections.ConfigDict:
    """Returns the configuration of a variant."""
    config = recipes.start(__file__, variant, VARIANTS)
    config.epochs = 300
    config.batch_size = B * INSTANCES[variant]
    if INSTANCES[variant] > 1:  # else ranks take their share of the 64 at once
        config.sub_batch_size = B
    config.batch_augmentation.update({"instances": INSTANCES[variant], "placement": "rank"})
    config.data.update({"name": "cifar100", "standardize": "per_channel"})
    config.data.update({"padding": 4, "pad_with": "black", "flip": True})
    config.schedule.update({"name": "step", "epochs": (150, 225), "factor": 0.1})
    config.model = recipes.section(
        "model", "densenet", depth=100, growth_rate=12, weight_decay=1e-4
    )
    config.optimizer = recipes.section(
        "optimizer", "SGD", learning_rate=0.1, momentum=0.9, nesterov=True
    )
    return config
