"""Logistic regression on the mushrooms: the convex problem of the adaptive batch size paper, Fig. 5.

- full_gradient: all 6,905 samples an update. sgd, the baseline, also called bl: batch 100.
- abs, absa: 100 to 3,200 by Algorithm 1, the reference that of the initial weights, as the paper has it.
- fb, gg: not in Fig. 5; batch 3,200 with a rate scaled and warmed up, and the batch times 5 where C1 decays its rate.

The paper's rate is 1.2, which we take to be that of one logit with a sigmoid. Our two logits move their difference as
far with half of it (`tflbt.models.logistic_regression`): --config.optimizer.learning_rate=0.6 is its 1.2. The rate
never decays, there is no momentum and no weight decay, and weights begin at 0.

On R ranks add --config.sub_batch_size=N with N = 100 / R, and for full_gradient a multiple of R that is a little more
than all samples, as --config.batch_size=6906 --config.sub_batch_size=3453.
"""

from __future__ import annotations

import ml_collections

from tflbt import recipes
from tflbt.recipes.strategies import apply_strategy

ALL = 6905
SGD, LARGEST = 100, 3200
RATE_OF_ONE_LOGIT = 1.2
VARIANTS = ("full_gradient", "sgd", "bl", "fb", "gg", "abs", "absa")


def get_config(variant: str = "abs") -> ml_collections.ConfigDict:
    """Returns the configuration of a variant."""
    config = recipes.start(__file__, variant, VARIANTS)
    config.epochs = 90
    config.batch_size = config.sub_batch_size = ALL if variant == "full_gradient" else SGD
    config.data.update({"name": "mushroom", "standardize": "divide_255"})
    config.model = recipes.section("model", "logistic_regression", initial_weights="zeros")
    config.optimizer = recipes.section("optimizer", "SGD", learning_rate=RATE_OF_ONE_LOGIT / 2)
    apply_strategy(
        config,
        "bl" if variant in ("full_gradient", "sgd") else variant,
        largest=LARGEST,
        decay_epochs=(30, 60, 80),  # where gg grows
        decay_ratio=5,
        reference="initialization",
        tail="update",  # as in the runs of RESULTS.md
    )
    config.schedule.name = "constant"
    return config
