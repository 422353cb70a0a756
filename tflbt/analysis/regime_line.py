"""The regime of a batch size and why, as a sentence for a report."""

from __future__ import annotations

import math

from tflbt import checks
from tflbt.analysis.regimes import Regimes, Run


@checks.arguments
def regime_line(found: Regimes, batch_size: int) -> str:
    """States the regime of a batch size (samples per update), the results of its runs, and what puts it there.

    The text ends without a full stop.

    Raises:
        ValueError: If the batch size is less than 1.

    Example:
        >>> from tflbt.analysis import regimes
        >>> baseline = Run(256, accuracy=0.9922, loss=0.03, epochs=30)
        >>> runs = [Run(8192, 0.9927, 0.03, 30), Run(2048, 0.98, 0.06, 30, linear_scaling=True)]
        >>> regime_line(regimes(baseline, runs, 60000), 8192)
        "batch 8,192 is large: 0.9927 is at least 99.5% of the baseline's 0.9922 (batch 256) in as many epochs;
        linear scaling alone fails at batch 2,048"
    """
    regime = found.of(batch_size)
    parts = [_measured(found, batch_size), *_bounds(found, batch_size, regime)]
    return f"batch {batch_size:,} is {regime}: {'; '.join(parts)}"


def _measured(found: Regimes, batch_size: int) -> str:
    """The result of the runs of exactly this batch size: the best that reached the target, or that failed."""
    baseline = found.baseline
    if batch_size == baseline.batch_size:
        return f"it is the baseline, with {baseline.accuracy:.5g}"
    runs = [run for run in found.runs if run.batch_size == batch_size]
    reached = [run for run in runs if found.reaches(run)]
    failed = [run for run in runs if found.fails(run)]
    whose = f"99.5% of the baseline's {baseline.accuracy:.5g} (batch {baseline.batch_size:,})"
    if reached:
        best = max(reached, key=lambda run: run.accuracy)
        return f"{best.accuracy:.5g} is at least {whose} in {_epochs(best, baseline)}"
    if failed:
        best = max(failed, key=lambda run: -1 if math.isnan(run.accuracy) else run.accuracy)
        which = "its run" if len(failed) == 1 else f"the best of its {len(failed)} runs"
        if not best.finite:
            return f"{which} diverged"
        return (
            f"{which}, {best.accuracy:.5g}, is less than {found.target:.5g}, {whose}, in "
            f"{_epochs(best, baseline)}"
        )
    if runs:
        return f"no run of it tells, in {baseline.epochs} epochs, whether it reaches {whose}"
    return "it was not run"


def _epochs(run: Run, baseline: Run) -> str:
    """The epochs of a run compared with the baseline's."""
    same = run.epochs == baseline.epochs
    return "as many epochs" if same else f"{run.epochs} epochs against {baseline.epochs}"


def _bounds(found: Regimes, batch_size: int, regime: str) -> list[str]:
    """What puts it on this side of the bounds, or what would."""
    if regime == "full":
        return [f"an update sees all {found.full:,} training samples"]
    parts = []
    if regime == "small" and batch_size != found.baseline.batch_size:
        parts.append(f"linear scaling alone is enough up to batch {found.small_up_to:,}")
    if regime.startswith("large") and found.large_from is not None:
        parts.append(f"linear scaling alone fails at batch {found.large_from:,}")
    if regime == "huge":
        parts.append(f"no technique in these runs reaches it from batch {found.huge_from:,} on")
    if regime.startswith("small") and regime != "small":
        parts.append("a run with linear scaling alone would tell small from large")
    if regime.endswith("or huge"):
        parts.append("runs with more techniques would tell large from huge")
    return parts
