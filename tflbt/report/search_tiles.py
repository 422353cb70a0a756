"""The headline of a search: the best objective, its trial, the trials by status, their time."""

from __future__ import annotations

import math

from tflbt.report.search_history import SearchHistory, TrialRow
from tflbt.report.tiles import Tile, count, duration, metric_name, metric_text


def tiles(history: SearchHistory) -> list[Tile]:
    """Returns the best objective, its trial, the trials by status, and their time."""
    best, value, note = history.best, "none", "no trial ended with an objective"
    if best is not None:
        value = metric_text(history.objective, best.objective)
        candidates = sum(trial.may_win for trial in history.trials)
        note = f"the {'largest' if history.largest else 'smallest'} of {count(candidates, 'trial')}"
    if history.gain is not None and history.baseline is not None:
        own = metric_text(history.objective, history.baseline.objective)
        note = f"{'was' if history.gain > 0 else 'not better than'} {own} with the recipe as it is"
    planned = history.settings.get("max_trials")
    of_all = f"{len(history.finished)}{f' of {planned}' if planned else ''}"
    by_status = ", ".join(f"{number} {status}" for status, number in history.counts.items())
    return [
        Tile(f"Best {metric_name(history.objective)}", value, note),
        Tile("Best trial", str(best.number) if best else "none", _epoch(best)),
        Tile("Trials", of_all, by_status),
        *_time(history),
    ]


def _epoch(best: TrialRow | None) -> str:
    """Returns the epoch of the best objective."""
    if best is None or not best.best_epoch:
        return ""
    return f"epoch {best.best_epoch}" + (f" of {best.epochs}" if best.epochs else "")


def _time(history: SearchHistory) -> list[Tile]:
    """Returns the time of all trials; if groups of ranks train a trial each, several ran at a time."""
    seconds = [trial.seconds for trial in history.rows if math.isfinite(trial.seconds)]
    if not seconds:
        return []
    each = sum(seconds) / len(seconds)
    note = f"{each:.1f} s per trial" if each < 100 else f"{duration(each)} per trial"
    ranks, of_each = (int(history.settings.get(key) or 1) for key in ("ranks", "ranks_per_trial"))
    groups = ranks // of_each
    beside = f", {groups} at a time" if groups > 1 else ""
    return [Tile("Time", duration(sum(seconds)), note + beside)]
