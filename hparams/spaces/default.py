"""A space for every recipe: around the recipe's own values, of what it uses.

- default: the learning rate, 1/8 to 8 times the recipe's; beta, 0.3 to 0.7, of the two-phase schedule; warm-up epochs
  where the recipe warms up; trust coefficient and weight decay, 1/4 to 4 times, where it has them. All but beta and
  the warm-up log-uniform.
- learning_rate_beta: these two, for recipes with the two-phase schedule and few trials.
- learning_rate: steps for GridSearch, 5 learning rates a factor of 2 apart.
- learning_rate_warmup: steps for GridSearch, 5 learning rates a factor of 2 apart, warm-ups of 0 to 40% of the epochs.
- bounds: learning rate and ratio bounds, for recipes with `optimizer.ratio_bounds`.
- batch_size: learning rate, and batches of 1/8 to 2 times that sub-batches and ranks divide.

The ranges are *ours*; beta's is that of Table 7 of `two-phase.txt`. Under LARS the product of learning rate and trust
coefficient is what counts for adapted layers: with few trials fix one, as learning_rate_beta does.
"""

from __future__ import annotations

import math

import keras_tuner
import ml_collections

from tflbt.recipes import build
from tflbt.tuning import space


def get_space(
    config: ml_collections.ConfigDict, name: str = "default"
) -> keras_tuner.HyperParameters:
    """Returns the space of that name for a recipe."""
    hp = keras_tuner.HyperParameters()
    space.named(SPACES, name)(hp, config)
    return hp


def _default(hp: keras_tuner.HyperParameters, config: ml_collections.ConfigDict) -> None:
    _learning_rate(hp, config)
    if config.schedule.name == "two_phase":
        _beta(hp, config)
    if config.warmup.epochs > 0:
        high = min(2 * config.warmup.epochs, _end(config) / 2)
        own = min(config.warmup.epochs, high)
        hp.Float("warmup.epochs", high / 4, high, default=own)
    for key in ("optimizer.trust_coefficient", "optimizer.weight_decay", "model.weight_decay"):
        section, name = key.split(".")
        value = config[section].get(name)
        # A coefficient of 1 beside a rate is none, but for LARS, whose updates are as large as the weights.
        if value and not (
            name == "trust_coefficient" and value == 1 and config.optimizer.name != "LARS"
        ):
            _around(hp, key, value, 4)


def _learning_rate_beta(hp: keras_tuner.HyperParameters, config: ml_collections.ConfigDict) -> None:
    _learning_rate(hp, config)
    _beta(hp, config)


def _learning_rate_steps(
    hp: keras_tuner.HyperParameters, config: ml_collections.ConfigDict
) -> None:
    rate = config.optimizer.learning_rate
    rates = [rate * times for times in (0.25, 0.5, 1, 2, 4)]
    hp.Choice("optimizer.learning_rate", rates, default=rate)


def _learning_rate_warmup(
    hp: keras_tuner.HyperParameters, config: ml_collections.ConfigDict
) -> None:
    _learning_rate_steps(hp, config)
    epochs = config.warmup.epochs
    steps = [round(_end(config) * share, 6) for share in (0.0, 0.1, 0.2, 0.3, 0.4)]
    hp.Choice("warmup.epochs", steps, default=epochs if epochs in steps else None)


def _bounds(hp: keras_tuner.HyperParameters, config: ml_collections.ConfigDict) -> None:
    low, high = config.optimizer.get("ratio_bounds") or (0.0, math.inf)
    if not (low > 0 or high < math.inf):
        raise ValueError(
            "config.optimizer.ratio_bounds is not set: take a recipe with bounds, as mnist_lenet.py:adam_bounded."
        )
    _learning_rate(hp, config)
    times = min(math.sqrt(high / low), 10) if low > 0 else 10  # so that they never cross
    for index, bound in enumerate((low, high)):
        if 0 < bound < math.inf:
            _around(hp, f"optimizer.ratio_bounds.{index}", bound, times)


def _batch_size(hp: keras_tuner.HyperParameters, config: ml_collections.ConfigDict) -> None:
    own = config.batch_size
    sizes = [own // 8, own // 4, own // 2, own, 2 * own]
    sizes = [size for size in sizes if size and (size >= own or own % size == 0)]
    good = [size for size in sizes if _passes(space.apply(config, {"batch_size": size}))]
    if len(good) < 2:
        raise ValueError(
            f"config.sub_batch_size={config.sub_batch_size} divides fewer than two of the batches {sizes} on these "
            "ranks, or other values of the recipe forbid them: set a smaller --config.sub_batch_size."
        )
    _learning_rate(hp, config)
    hp.Choice("batch_size", good, default=own if own in good else None)


SPACES = {
    "default": _default,
    "learning_rate_beta": _learning_rate_beta,
    "learning_rate": _learning_rate_steps,
    "learning_rate_warmup": _learning_rate_warmup,
    "bounds": _bounds,
    "batch_size": _batch_size,
}


def _learning_rate(hp: keras_tuner.HyperParameters, config: ml_collections.ConfigDict) -> None:
    _around(hp, "optimizer.learning_rate", config.optimizer.learning_rate, 8)


def _beta(hp: keras_tuner.HyperParameters, config: ml_collections.ConfigDict) -> None:
    own = config.schedule.beta
    hp.Float("schedule.beta", 0.3, 0.7, default=min(max(own, 0.3), 0.7))


def _around(hp: keras_tuner.HyperParameters, key: str, own: float, times: float) -> None:
    hp.Float(key, own / times, own * times, sampling="log", default=own)


def _end(config: ml_collections.ConfigDict) -> float:
    """The epoch before which a warm-up must end."""
    return min(config.epochs, config.schedule.get("until") or config.epochs)


def _passes(config: ml_collections.ConfigDict) -> bool:
    try:
        build.check(config)
    except ValueError:
        return False
    return True
