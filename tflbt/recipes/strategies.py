"""The strategies that "Large Batch Size Training ... with Second-Order Information" compares, for its recipes."""

from __future__ import annotations

from collections.abc import Sequence

import ml_collections

from tflbt.recipes.sections import section
from tflbt.schedules import linear_scaling

# Appendix B of `abs-absa.txt`; the tuned warm-up is section IV-C.
STRATEGIES = ("bl", "fb", "gg", "abs", "absa", "absa_tuned")


def apply_strategy(
    config: ml_collections.ConfigDict,
    strategy: str,
    *,
    largest: int,
    decay_epochs: Sequence[int],
    decay_ratio: float,
    tuned_batch_size: int | None = None,
    tuned_warmup: float = 5.0,
    reference: str = "first_epoch",
    tail: str = "carry",
) -> None:
    """Completes a recipe that says the baseline: batch, sub-batch, epochs, model, data and optimizer.

    - bl: the baseline as it is, the learning rate divided by `decay_ratio` at `decay_epochs`.
    - fb: batch `largest`, the learning rate scaled with it, warmed up over 5 epochs (Goyal et al. 2017).
    - gg: the batch multiplied by `decay_ratio` where the baseline decays (Smith et al. 2018).
    - abs: the batch grows by Algorithm 1 up to `largest`; the learning rate grows with it, and decays as in bl.
    - absa: abs with 20% adversarial samples of size 0.005 at the start, and none at the largest batch.
    - absa_tuned: absa that begins at `tuned_batch_size`, warmed up over `tuned_warmup` epochs.

    Args:
        config: A `tflbt.recipes.default_config` with the baseline's values.
        strategy: One of `STRATEGIES`.
        largest: The largest batch.
        decay_epochs: After how many epochs the baseline's learning rate decays.
        decay_ratio: Rho, by what it is divided, more than 1.
        tuned_batch_size: First batch of absa_tuned; default 15 times the baseline's, as 1,920 is of 128.
        tuned_warmup: Epochs of its warm-up.
        reference: Where abs and absa take their first eigenvalue; default as in the authors' code, since networks with
            BatchNorm have no meaningful one before. See `tflbt.callbacks.AdaptiveBatchSize`. It is measured on the
            first samples of the training set, always the same; the authors draw 128 others after every epoch.
        tail: What becomes of samples that fill no batch; default as the paper's tables count their updates, of which
            all are of full batches (those of bl and fb are `tflbt.control.tail.total_updates`).

    Source: appendix B and section IV-C of `abs-absa.txt`.
    """
    config.tail = tail
    epochs = tuple(decay_epochs)
    config.schedule = section("schedule", "step", epochs=epochs, factor=1 / decay_ratio)
    if strategy == "fb":
        _scale(config, largest, 5.0)
    elif strategy == "gg":
        config.schedule = section("schedule", "constant")
        growth = {"epochs": epochs, "factor": float(decay_ratio), "max_batch_size": largest}
        config.batch_schedule = section("batch_schedule", "grow", **growth)
    elif strategy != "bl":
        # The paper does not say what becomes of the adversarial samples at the largest batch: as in the authors' code.
        growth = {
            "max_batch_size": largest,
            "reference": reference,
            "adversarial_at_largest": False,
        }
        config.batch_schedule = section("batch_schedule", "adaptive", **growth)
    if strategy == "absa_tuned":
        _scale(config, tuned_batch_size or 15 * config.batch_size, tuned_warmup)
    if strategy.startswith("absa"):
        config.adversarial.share = 0.2


def _scale(config: ml_collections.ConfigDict, batch_size: int, warmup: float) -> None:
    """Begins with a larger batch, its learning rate scaled with it and warmed up from the baseline's."""
    config.optimizer.learning_rate = linear_scaling(
        config.optimizer.learning_rate, batch_size, config.batch_size
    )
    config.warmup.epochs = warmup
    config.warmup.initial_factor = config.batch_size / batch_size
    config.batch_size = batch_size
