"""AlexNet on CIFAR-10: Figs. 9 to 14 of "Study on the Large Batch Size Training ...", section 3 of its text.

- batch_2000, batch_8000: the baselines of Fig. 10. discard_2000, discard_8000: the same, without the 30% of an
  update's samples that have the smallest losses, in the first 100 epochs.
- batch_8192: Figs. 11 and 12. first_epoch_8192, Figs. 13 and 14: the first epoch with batch 512 and learning rate
  0.005, then 8,192 and 0.05.

Fig. 9: one update of discard_8000 with --config.batch_size=8192 --config.sub_batch_size=512 and
--config.small_loss.share=0.1 to 0.9. Figs. 1 and 8, batch 32 to 49,152: batch_8192 with --config.batch_size=N, a
--config.sub_batch_size that divides it, and the rate scaled, as --config.optimizer.learning_rate=0.000195 for 32.

The paper's (`curvature-radius.txt`): batches, 0.05 at 8,192, 512 and 0.005, 30%, 100 epochs, SGD, PyTorch. *Ours*:
200 epochs, a rate that never decays, scaled with the batch at 2,000 and 8,000, momentum 0.9, no weight decay, no
augmentation, each channel standardised; the network too (`tflbt.models.alexnet`). Losses are compared over the whole
update, as in the paper; --config.small_loss.scope=sub_batch compares 250 of them and saves a forward pass.

On R ranks add --config.sub_batch_size=N with N = 512 / R to first_epoch_8192; the others divide over up to 8.
"""

from __future__ import annotations

import ml_collections

from tflbt import recipes
from tflbt.schedules import linear_scaling

LARGE, RATE = 8192, 0.05
VARIANTS = (
    "batch_2000",
    "discard_2000",
    "batch_8000",
    "discard_8000",
    "batch_8192",
    "first_epoch_8192",
)


def get_config(variant: str = "first_epoch_8192") -> ml_collections.ConfigDict:
    """Returns the configuration of a variant."""
    config = recipes.start(__file__, variant, VARIANTS)
    config.epochs = 200
    config.batch_size = int(variant.rpartition("_")[2])
    config.sub_batch_size = 512 if config.batch_size == LARGE else 250
    config.data.update({"name": "cifar10", "standardize": "per_channel"})
    config.model = recipes.section(
        "model",
        "alexnet",
        form="cifar",
        filters=(64, 192, 384, 256, 256),
        units=(4096, 4096),
        dropout=0.5,
        batch_norm=False,  # the paper says nothing of it; without, the loss begins to fall late
        weight_decay=0.0,
    )
    config.optimizer = recipes.section(
        "optimizer",
        "SGD",
        learning_rate=linear_scaling(RATE, config.batch_size, LARGE),
        momentum=0.9,
    )
    if variant.startswith("discard"):
        config.small_loss.update({"share": 0.3, "epochs": 100, "scope": "update"})
    if variant.startswith("first"):
        config.batch_schedule.update(
            {"name": "first_epochs", "first_batch_size": 512, "first_learning_rate": 0.005}
        )
    return config
