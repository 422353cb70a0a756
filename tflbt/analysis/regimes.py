r"""Which batch sizes are large, huge or full, by definitions 2.1 to 2.3 of `limit-of-the-batch-size.txt`.

A baseline with batch \(B_0\) and rate \(\eta\) reaches accuracy A and validation loss \(\xi\) in \(\rho\) epochs. The
paper's definitions, as they are read here:

- Large (2.1): below \(B_L\) the learning rate \(\eta B / B_0\) alone, with nothing else changed, gives at least 99.5%
  of A and at most \(1.2 \xi\) in \(\rho\) epochs; from \(B_L\) on a batch is large. So \(B_L\) is the first batch size
  that needs more than linear scaling.
- Huge (2.2): above \(B_H\) no technique gives 99.5% of A in \(\rho\) epochs. The loss does not matter.
- Full (2.3): \(B_F\) is the number of training samples. A full batch is called full, whatever it reaches.
- Every other batch is small. Table 2's intervals follow: large \([B_L, B_H]\), huge \((B_H, B_F)\).

There are runs at only a few batch sizes, so each bound lies between two of them, and the result says where the runs do
not decide:

- One run that reaches the target in at most \(\rho\) epochs shows that its batch size can, as the paper reports its
  best runs. A run fails after \(\rho\) epochs or more, or if its loss becomes NaN or infinite.
- A batch size that reaches the target is taken to show that all smaller ones do, and one that fails, that all larger
  ones fail.
- "No technique" can only mean those that were run. A batch size is huge only if something besides linear scaling was
  tried at it, and none of the runs there, nor of larger batches, reached the target.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

from tflbt import checks

ACCURACY_SHARE = 0.995  # of the baseline's accuracy: definitions 2.1 and 2.2
LOSS_FACTOR = 1.2  # times the baseline's validation loss: definition 2.1
# Keras reports float32: two roundings of half a unit in the last place each.
_ROUNDING = 2.0**-23


@checks.arguments
@dataclasses.dataclass(frozen=True)
class Run:
    """The result of one training.

    Args:
        batch_size: Samples per update, over all ranks, at least 1.
        accuracy: On the validation or test samples after the last epoch, 0 to 1; NaN if it diverged.
        loss: On the same samples; NaN or infinite if it diverged.
        epochs: The number of epochs trained, at least 1.
        linear_scaling: True if it differs from the baseline only in the batch size and a learning rate in proportion to
            it; default False: another technique was used too.

    Raises:
        ValueError: If the batch size or the epochs are less than 1, or the accuracy is not within 0 and 1.
    """

    batch_size: int
    accuracy: checks.Measured
    loss: checks.Measured
    epochs: int
    linear_scaling: bool = False

    def __post_init__(self) -> None:
        """Checks the numbers."""
        checks.number("batch_size", self.batch_size, at_least=1)
        checks.number("epochs", self.epochs, at_least=1)
        if not math.isnan(self.accuracy):
            checks.number("accuracy", self.accuracy, at_least=0, at_most=1, hint=", not in percent")

    @property
    def finite(self) -> bool:
        """False if it diverged."""
        return math.isfinite(self.accuracy) and math.isfinite(self.loss)


@checks.arguments
@dataclasses.dataclass(frozen=True)
class Regimes:
    r"""The bounds between regimes, as far as runs show them.

    Args:
        baseline: The run with which the others are compared.
        runs: The others.
        small_up_to: Largest batch size for which linear scaling alone is known to be enough.
        large_from: Smallest batch size known to need more, the measured \(B_L\); None: no run shows it.
        huge_above: Largest batch size with which a run reached the target, the measured \(B_H\).
        huge_from: Smallest batch size above it with which no run reached the target; None: there is none.
        full: Number of training samples, \(B_F\); None: not known.
    """

    baseline: Run
    runs: tuple[Run, ...]
    small_up_to: int
    large_from: int | None
    huge_above: int
    huge_from: int | None
    full: int | None

    @property
    def target(self) -> float:
        """The accuracy to reach: 99.5% of the baseline's."""
        return ACCURACY_SHARE * self.baseline.accuracy

    def reaches(self, run: Run) -> bool:
        """True if a run has the target accuracy in at most the baseline's epochs."""
        return _reaches(run, self.baseline)

    def fails(self, run: Run) -> bool:
        """True if a run shows that it cannot: it had the baseline's epochs, or diverged."""
        return _fails(run, self.baseline)

    def of(self, batch_size: int) -> str:
        """Returns "small", "large", "huge" or "full" for a batch size in samples per update, at least 1.

        If the runs do not decide, it returns the possible ones: "small or large", "large or huge", "small, large or
        huge".

        Raises:
            ValueError: If the batch size is less than 1.

        Example:
            >>> baseline = Run(256, accuracy=0.759, loss=1.0, epochs=90)
            >>> found = regimes(baseline, [Run(65536, 0.759, 1.0, 90), Run(131072, 0.7337, 1.2, 90)], 1281167)
            >>> found.of(65536), found.of(131072), found.of(1281167)
            ('small or large', 'huge', 'full')
        """
        checks.number("batch_size", batch_size, at_least=1)
        if self.full is not None and batch_size >= self.full:
            return "full"
        if batch_size <= self.small_up_to:
            return "small"
        if self.huge_from is not None and batch_size >= self.huge_from:
            return "huge"
        may_be = ["large"]
        if self.large_from is None or batch_size < self.large_from:
            may_be.insert(0, "small")
        if batch_size > self.huge_above:
            may_be.append("huge")
        return " or ".join([", ".join(may_be[:-1]), may_be[-1]] if len(may_be) > 1 else may_be)


@checks.arguments
def regimes(baseline: Run, runs: Iterable[Run], training_samples: int | None = None) -> Regimes:
    """Returns the bounds between the regimes of batch sizes that measured runs show.

    Args:
        baseline: The small-batch run, with the accuracy, loss and epochs with which to compare others.
        runs: Other runs on the same data and network, at any batch sizes.
        training_samples: The size of the training set; default None: a full batch is not recognised.

    Raises:
        ValueError: If the baseline diverged, or has no accuracy to compare with.

    Example:
        >>> baseline = Run(256, accuracy=0.992, loss=0.03, epochs=30)
        >>> lars, linear = Run(8192, 0.994, 0.02, 30), Run(2048, 0.9, 0.4, 30, linear_scaling=True)
        >>> found = regimes(baseline, [lars, linear, Run(32768, 0.987, 0.05, 30)], 60000)
        >>> [found.of(size) for size in (256, 2048, 8192, 16384, 32768, 60000)]
        ['small', 'large', 'large', 'large or huge', 'huge', 'full']

    Source: definitions 2.1, 2.2, 2.3 and Table 2 of `limit-of-the-batch-size.txt`.
    """
    if not (baseline.finite and baseline.accuracy > 0):
        raise ValueError(
            f"baseline={baseline!r} diverged or has no accuracy: give one that trained well."
        )
    if training_samples is not None:
        checks.number("training_samples", training_samples, at_least=1)
    runs = tuple(runs)
    first = baseline.batch_size
    linear = [run for run in runs if run.linear_scaling and run.batch_size > first]
    enough = {run.batch_size for run in linear if _reaches(run, baseline, with_loss=True)}
    short = {run.batch_size for run in linear if _fails(run, baseline, with_loss=True)} - enough
    large_from = min(short, default=None)
    small = {size for size in enough if large_from is None or size < large_from}

    larger = [run for run in runs if run.batch_size > first]
    reached = {run.batch_size for run in larger if _reaches(run, baseline)}
    huge_above = max(reached, default=first)
    beyond = [run for run in larger if run.batch_size > huge_above and not run.linear_scaling]
    failed = {run.batch_size for run in beyond if _fails(run, baseline)} - reached
    return Regimes(
        baseline=baseline,
        runs=runs,
        small_up_to=max(small, default=first),
        large_from=large_from,
        huge_above=huge_above,
        huge_from=min(failed, default=None),
        full=training_samples,
    )


def _good(run: Run, baseline: Run, with_loss: bool) -> bool:
    """True if a run reaches the target of 2.2 or, with the loss, of 2.1."""
    target, limit = ACCURACY_SHARE * baseline.accuracy, LOSS_FACTOR * baseline.loss
    accurate = run.accuracy >= target * (1 - _ROUNDING)
    return accurate and (not with_loss or run.loss <= limit * (1 + _ROUNDING))


def _reaches(run: Run, baseline: Run, with_loss: bool = False) -> bool:
    """True if a run shows that its batch size reaches the target."""
    return run.epochs <= baseline.epochs and _good(run, baseline, with_loss)


def _fails(run: Run, baseline: Run, with_loss: bool = False) -> bool:
    """True if a run had enough epochs, or diverged, without the target."""
    had_its_time = run.epochs >= baseline.epochs or not run.finite
    return had_its_time and not _good(run, baseline, with_loss)
