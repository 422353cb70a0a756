"""The AlexNet-like network on SVHN's extra images: model S1 of the adaptive batch size paper, Table III.

bl, fb, gg, abs, absa, absa_tuned (`tflbt.recipes.strategies`): `abs-absa.txt`, appendix A and B, and, where they are
silent, the authors' released code: pixels divided by 255 and nothing else, momentum 0.9, no weight decay. An eigenvalue
is measured every 65,536 samples, which take an epoch's place in Algorithm 1, the reference's too. The first batch of
absa_tuned is ours: the paper tuned CIFAR-10 and ImageNet alone. Table III gives gg more updates than growth where the
rate decays takes (with 512 as many as if nothing grew for 10 epochs); ours grows where it decays.

On R ranks add --config.sub_batch_size=N with N = 128 / R.
"""

from __future__ import annotations

import ml_collections

from tflbt import recipes
from tflbt.recipes.strategies import STRATEGIES, apply_strategy

VARIANTS = STRATEGIES


def get_config(variant: str = "absa") -> ml_collections.ConfigDict:
    """Returns the configuration of a variant."""
    config = recipes.start(__file__, variant, VARIANTS)
    config.epochs = 20
    config.batch_size = config.sub_batch_size = 128
    config.data.update({"name": "svhn_extra", "standardize": "divide_255"})
    config.model = recipes.section("model", "small_alexnet")
    config.optimizer = recipes.section("optimizer", "SGD", learning_rate=0.01, momentum=0.9)
    # The largest batch of Table III.
    apply_strategy(config, variant, largest=131_072, decay_epochs=(5, 10, 15), decay_ratio=5)
    if config.batch_schedule.name == "adaptive":
        # The paper's only change of its own numbers: 20 epochs are few to decide after.
        config.batch_schedule.measure_every = 65_536
    return config
