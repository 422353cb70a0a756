r"""Which batch sizes are large, huge or full, by definitions 2.1 to 2.3 of `limit-of-the-batch-size.txt`.

A baseline of batch :math:`B_0` and learning rate :math:`\eta` reaches accuracy A and validation loss
:math:`\xi` in :math:`\rho` epochs. In the paper's words, and as they are read here:

- Large (2.1): below :math:`B_L` the learning rate :math:`\eta B / B_0` alone, with nothing else changed,
  gives at least 99.5% of A and at most :math:`1.2 \xi` in :math:`\rho` epochs; from :math:`B_L` on a batch
  is large. So :math:`B_L` is the first batch size that needs more than linear scaling.
- Huge (2.2): above :math:`B_H` no technique there is gives 99.5% of A in :math:`\rho` epochs. The loss
  does not enter.
- Full (2.3): :math:`B_F` is the number of training samples. A full batch is called full, whatever it reaches.
- What is neither is small. Table 2's intervals follow: large :math:`[B_L, B_H]`, huge :math:`(B_H, B_F)`.

Runs are at a few batch sizes, so each bound lies between two of them, and it is said where they do not decide:

- One run that reaches the target in at most :math:`\rho` epochs shows that its batch size can, as the paper
  reports its best runs. Failing takes :math:`\rho` epochs or more, or a loss that is no longer a number.
- What holds of a batch size is taken to hold of all smaller ones (reached), or larger ones (failed).
- "No technique" can only mean those that were run. A batch size is huge only if something besides linear
  scaling was tried at it, and none of the runs there, nor of larger batches, reached the target.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable

ACCURACY_SHARE = 0.995  # of the baseline's accuracy: definitions 2.1 and 2.2
LOSS_FACTOR = 1.2  # times the baseline's validation loss: definition 2.1
# Keras reports float32: two roundings of half a unit in the last place each.
_ROUNDING = 2.0**-23


@dataclasses.dataclass(frozen=True)
class Run:
    """What one training came to.

    Args:
        batch_size: Samples an update, over all ranks, at least 1.
        accuracy: On the validation or test samples after the last epoch, 0 to 1; nan if it diverged.
        loss: On the same samples; nan or infinite if it diverged.
        epochs: That it was trained for, at least 1.
        linear_scaling: True if it differs from the baseline in nothing but the batch size and a learning rate in
            proportion to it; default False: some other technique was used too.

    Raises:
        ValueError: If the batch size or the epochs are less than 1, or the accuracy is not within 0 and 1.
    """

    batch_size: int
    accuracy: float
    loss: float
    epochs: int
    linear_scaling: bool = False

    def __post_init__(self) -> None:
        """Checks the numbers."""
        for name in ("batch_size", "epochs"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"{name}={getattr(self, name)!r} must be at least 1.")
        if not (math.isnan(self.accuracy) or 0 <= self.accuracy <= 1):
            raise ValueError(f"accuracy={self.accuracy!r} must be within 0 and 1, not in percent.")

    @property
    def finite(self) -> bool:
        """False if it diverged."""
        return math.isfinite(self.accuracy) and math.isfinite(self.loss)


@dataclasses.dataclass(frozen=True)
class Regimes:
    """The bounds between regimes, as far as runs tell them.

    Args:
        baseline: The run that the others are held against.
        runs: The others.
        small_up_to: Largest batch size that linear scaling alone is known to be enough for.
        large_from: Smallest known to need more, the measured :math:`B_L`; None: no run shows it.
        huge_above: Largest batch size that any run reached the target with, the measured :math:`B_H`.
        huge_from: Smallest above it that no run reached the target with; None: there is none.
        full: Number of training samples, :math:`B_F`; None: not known.
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
        """Says whether a run has the target accuracy in at most the baseline's epochs."""
        return _reaches(run, self.baseline)

    def fails(self, run: Run) -> bool:
        """Says whether a run shows that its way does not: it had the baseline's epochs, or diverged."""
        return _fails(run, self.baseline)

    def of(self, batch_size: int) -> str:
        """The regime of a batch size.

        Args:
            batch_size: Samples an update, at least 1.

        Returns:
            "small", "large", "huge" or "full"; where the runs do not decide, what it may be: "small or large",
            "large or huge", "small, large or huge".

        Raises:
            ValueError: If the batch size is less than 1.

        Example:
            >>> baseline = Run(256, accuracy=0.759, loss=1.0, epochs=90)
            >>> found = regimes(baseline, [Run(65536, 0.759, 1.0, 90), Run(131072, 0.7337, 1.2, 90)], 1281167)
            >>> found.of(65536), found.of(131072), found.of(1281167)
            ('small or large', 'huge', 'full')
        """
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size!r} must be at least 1.")
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


def regimes(baseline: Run, runs: Iterable[Run], training_samples: int | None = None) -> Regimes:
    """Finds the regimes of batch sizes from measured runs.

    Args:
        baseline: The small-batch run, with the accuracy, loss and epochs to hold others against.
        runs: Others on the same data and network, at any batch sizes.
        training_samples: Of the training set; default None: a full batch is not recognised.

    Returns:
        The bounds that the runs show.

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
    if training_samples is not None and training_samples < 1:
        raise ValueError(f"training_samples={training_samples!r} must be at least 1.")
    runs = tuple(runs)
    first = baseline.batch_size
    linear = [run for run in runs if run.linear_scaling and run.batch_size > first]
    enough = {run.batch_size for run in linear if _reaches(run, baseline, with_loss=True)}
    short = _failed_sizes(linear, enough, lambda run: _fails(run, baseline, with_loss=True))
    large_from = min(short, default=None)
    small = {size for size in enough if large_from is None or size < large_from}

    larger = [run for run in runs if run.batch_size > first]
    reached = {run.batch_size for run in larger if _reaches(run, baseline)}
    huge_above = max(reached, default=first)
    failed = _failed_sizes(
        [run for run in larger if run.batch_size > huge_above and not run.linear_scaling],
        reached,
        lambda run: _fails(run, baseline),
    )
    return Regimes(
        baseline=baseline,
        runs=runs,
        small_up_to=max(small, default=first),
        large_from=large_from,
        huge_above=huge_above,
        huge_from=min(failed, default=None),
        full=training_samples,
    )


def _failed_sizes(runs: Iterable[Run], reached: set[int], fails: Callable[[Run], bool]) -> set[int]:
    """Batch sizes with a run that fails and none that reaches."""
    return {run.batch_size for run in runs if fails(run)} - reached


def _good(run: Run, baseline: Run, with_loss: bool) -> bool:
    """Says whether a run has the target, of 2.2 or, with the loss, of 2.1."""
    target, limit = ACCURACY_SHARE * baseline.accuracy, LOSS_FACTOR * baseline.loss
    accurate = run.accuracy >= target * (1 - _ROUNDING)
    return accurate and (not with_loss or run.loss <= limit * (1 + _ROUNDING))


def _reaches(run: Run, baseline: Run, with_loss: bool = False) -> bool:
    return run.epochs <= baseline.epochs and _good(run, baseline, with_loss)


def _fails(run: Run, baseline: Run, with_loss: bool = False) -> bool:
    had_its_time = run.epochs >= baseline.epochs or not run.finite
    return had_its_time and not _good(run, baseline, with_loss)
