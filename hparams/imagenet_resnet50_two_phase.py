"""ResNet-50 on ImageNet at batch 16,384: the two-phase paper's Table 5.

small_batch, large_batch, lars, two_phase, two_phase_lars: `two-phase.txt`, Table 5 and A.2: 100 epochs, momentum 0.9, a
warm-up of 10 from the small batch's rate, the last gammas of the blocks begin at 0. Images are resized to a shorter
side of 256, cropped to 224 x 224 at random, flipped; brightness changes by up to 32/255, hue by up to 0.1, saturation
and contrast by factors of 0.6 to 1.4; each channel is standardised. Weight decay is that of Goyal et al. (2017), whom
it follows: 1e-4.

The column LR of our copy is hard to read: "^0^" and "-61-" are 0.1 and 6.4, the linear rule's, as in the other
tables. The LARS rows show "~^Γ~" and "~32~"; we read 3.2, since "~33~" in Table 2 is 3.5 (Tables 6 and 7 say so), and
both LARS rows have one rate in the legible tables.

"The bias parameters at the last fully-connected layer are regularized like all the other weight parameters", in the L2
loss of the SGD rows and in LARS's weight decay. We have not run these.
"""

from __future__ import annotations

import ml_collections

from tflbt import recipes
from tflbt.schedules import linear_scaling

SMALL, LARGE = 256, 16_384
WEIGHT_DECAY = 1e-4
LEARNING_RATE = {
    "small_batch": 0.1,
    "lars": 3.2,
    "two_phase_lars": 3.2,
}  # of the others the linear rule's
VARIANTS = recipes.TABLE_ROWS


def get_config(variant: str = "two_phase_lars") -> ml_collections.ConfigDict:
    """Returns the configuration of a variant."""
    config = recipes.start(__file__, variant, VARIANTS)
    config.epochs = 100
    config.batch_size = SMALL if variant == "small_batch" else LARGE
    if variant != "small_batch":  # whose ranks take their share of the 256 at once
        config.sub_batch_size = 128
    config.data.update({"name": "imagenet", "standardize": "imagenet", "flip": True})
    config.data.update({"image_size": 224, "resize_then_crop": True})
    config.data.update({"brightness": 32 / 255, "hue": 0.1, "saturation": 0.4, "contrast": 0.4})
    layer_wise = variant.endswith("lars")
    # Weights decay once: in the loss under SGD, in the optimizer under LARS.
    config.model = recipes.section(
        "model",
        "resnet50",
        stem="imagenet",
        zero_init_last_gamma=True,
        weight_decay=0.0 if layer_wise else WEIGHT_DECAY,
        decay_last_bias=not layer_wise,
    )
    rate = LEARNING_RATE.get(variant, linear_scaling(0.1, LARGE, SMALL))  # 6.4
    config.optimizer = recipes.section("optimizer", "SGD", learning_rate=rate, momentum=0.9)
    if layer_wise:
        config.optimizer = recipes.lars(
            rate, WEIGHT_DECAY, 0.001, exclude_from_weight_decay=("norm",)
        )
    config.warmup.update({"epochs": 10.0, "initial_factor": LEARNING_RATE["small_batch"] / rate})
    if variant.startswith("two_phase"):
        config.schedule.update({"name": "two_phase", "beta": 0.5})
    else:
        config.schedule.update({"name": "step", "epochs": (30, 60, 80), "factor": 0.1})
    return config
