"""ResNet-18 on CIFAR-10 at batch 1,024: Fig. 16 of "Study on the Large Batch Size Training ...".

median_curvature: each layer's learning rate from its median radius of curvature (eq. 22); lars: from norms (eq. 23).
"Works well for batch size less than 8192": --config.batch_size=N.

From the paper (`curvature-radius.txt`, section 4.2): network, data, batch and rules. *Ours, and not tuned*: all else.
gamma is 0.01 for both, the default of `tflbt.optimizers.MedianCurvature`: eq. 23 has no trust coefficient beside it.
Momentum 0.9, weight decay 5e-4, 200 epochs with a warm-up of 5 and a cosine decay, each channel standardised, 4
pixels padded, cropped, flipped.
"""

from __future__ import annotations

import ml_collections

from tflbt import recipes

OPTIMIZERS = {
    "median_curvature": {"name": "MedianCurvature"},
    "lars": {"name": "LARS", "trust_coefficient": 1.0},
}
VARIANTS = tuple(OPTIMIZERS)


def get_config(variant: str = "median_curvature") -> ml_collections.ConfigDict:
    """Returns the configuration of a variant."""
    config = recipes.start(__file__, variant, VARIANTS)
    config.epochs = 200
    config.batch_size, config.sub_batch_size = 1024, 128
    config.data.update({"name": "cifar10", "standardize": "per_channel"})
    config.data.update({"padding": 4, "flip": True})
    config.warmup.epochs = 5.0
    config.schedule.name = "cosine"
    config.model = recipes.section("model", "resnet18", stem="cifar")
    config.optimizer = recipes.section(
        "optimizer",
        **OPTIMIZERS[variant],
        learning_rate=0.01,
        momentum=0.9,
        weight_decay=5e-4,
        exclude_from_weight_decay=("bias", "norm"),
        exclude_from_adaptation=("bias", "norm"),
    )
    return config
