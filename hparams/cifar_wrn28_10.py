"""Wide-ResNet 28-10: the two-phase paper's Table 3 (CIFAR-100), and batch augmentation's Table 1 (CIFAR-10 and 100).

small_batch, large_batch, lars, two_phase, two_phase_lars: `two-phase.txt`, Table 3 and A.2: CIFAR-100, 250 epochs,
batch 8,192, momentum 0.9, a warm-up of 10 from the small batch's rate (Goyal et al. 2017), each pixel standardised, 4
pixels padded, cropped, flipped. Rates as in hparams/cifar10_resnet20.py; 6 with LARS is confirmed by Tables 6 and 7,
which are settings of two_phase_lars: Table 6 --config.schedule.extra_fraction=0.2 to 0.5 (and --config.epochs=275),
Table 7 --config.schedule.beta=0.3 to 0.7. Weight decay, of which it says nothing, is Zagoruyko and Komodakis' 5e-4;
there is no dropout.

cutout, cutout_m6 (CIFAR-10), cifar100_cutout, cifar100_cutout_m10: `batch-augmentation.txt`, Table 1 and Fig. 2, with
the "original regime", Zagoruyko and Komodakis 2016: B = 128, 200 epochs, learning rate 0.1 divided by 5 at 60, 120 and
160, Nesterov momentum, weight decay 5e-4. 4 black pixels are padded and squares of 16 pixels cut out, as in
convNet.pytorch, the code of the paper's first author (DeVries and Taylor 2017 take squares of 8 for CIFAR-100:
--config.data.cutout_size=8). The instances of a sample are in different sub-batches of one GPU's size, so that with and
without them 128 different images are normalised together; the paper does not say.

On R ranks add --config.sub_batch_size=N with N = 128 / R to those with instances.
"""

from __future__ import annotations

import ml_collections

from tflbt import recipes
from tflbt.schedules import linear_scaling

SMALL, LARGE = 128, 8192
WEIGHT_DECAY = 5e-4
LEARNING_RATE = {
    "small_batch": 0.1,
    "lars": 6.0,
    "two_phase_lars": 6.0,
}  # of the others the linear rule's
INSTANCES = {"cutout": 1, "cutout_m6": 6, "cifar100_cutout": 1, "cifar100_cutout_m10": 10}
VARIANTS = (*recipes.TABLE_ROWS, *INSTANCES)


def get_config(variant: str = "two_phase_lars") -> ml_collections.ConfigDict:
    """Returns the configuration of a variant."""
    config = recipes.start(__file__, variant, VARIANTS)
    config.data.update({"name": "cifar100", "padding": 4, "flip": True})
    config.model = recipes.section(
        "model", "wide_resnet", depth=28, width=10, weight_decay=WEIGHT_DECAY
    )
    if variant in INSTANCES:
        _batch_augmentation(config, variant)
    else:
        _table_3(config, variant)
    return config


def _batch_augmentation(config: ml_collections.ConfigDict, variant: str) -> None:
    config.epochs = 200
    config.batch_augmentation.update({"instances": INSTANCES[variant], "placement": "rank"})
    config.batch_size = SMALL * INSTANCES[variant]
    if INSTANCES[variant] > 1:  # else ranks take their share of the 128 at once
        config.sub_batch_size = SMALL
    config.data.update({"standardize": "per_channel", "pad_with": "black", "cutout_size": 16})
    if not variant.startswith("cifar100"):
        config.data.name = "cifar10"
    config.optimizer = recipes.section(
        "optimizer", "SGD", learning_rate=0.1, momentum=0.9, nesterov=True
    )
    config.schedule.update({"name": "step", "epochs": (60, 120, 160), "factor": 0.2})


def _table_3(config: ml_collections.ConfigDict, variant: str) -> None:
    config.epochs = 250
    config.batch_size = SMALL if variant == "small_batch" else LARGE
    if variant != "small_batch":
        config.sub_batch_size = 128
    config.data.standardize = "per_pixel"
    rate = LEARNING_RATE.get(variant, linear_scaling(0.1, LARGE, SMALL))  # 6.4
    config.optimizer = recipes.section("optimizer", "SGD", learning_rate=rate, momentum=0.9)
    if variant.endswith("lars"):  # weights decay once: in the loss under SGD, else here
        config.model.weight_decay = 0.0
        config.optimizer = recipes.lars(rate, WEIGHT_DECAY, 0.01)
    config.warmup.update({"epochs": 10.0, "initial_factor": LEARNING_RATE["small_batch"] / rate})
    if variant.startswith("two_phase"):
        config.schedule.update({"name": "two_phase", "beta": 0.5})
    else:
        config.schedule.update({"name": "step", "epochs": (125, 185), "factor": 0.1})
