"""The headline of a run: a few numbers, each with a name and a note."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tflbt.runs.history import History, is_accuracy


class Tile(NamedTuple):
    """One number of the headline: its name, its value, and a note below."""

    name: str
    value: str
    note: str = ""


def tiles(
    history: History, config: Mapping[str, Any], environment: Mapping[str, Any]
) -> list[Tile]:
    """Returns the headline of a run with at least one epoch, the result first, without numbers that are unknown.

    `config` are hyper-parameters by dotted name, `environment` is the content of `environment.json`.
    """
    known = [
        *_results(history),
        _epochs(history, config),
        _updates(history),
        _batch_size(history, config, environment),
        _ranks(history),
        _time(history),
        _switch(history),
        _decays(history),
        _growths(history),
    ]
    return [tile for tile in known if tile is not None]


def planned_epochs(config: Mapping[str, Any]) -> int | None:
    """Returns the number of epochs that a configuration plans, or None if it has no such key."""
    value = _setting(config, "epochs")
    return value if isinstance(value, int) else None


def _results(history: History) -> list[Tile]:
    """Returns the best (if it is known what is better) and the last value, on validation data if there are any."""
    metric = history.metric or "loss"
    validated = history.has(f"val_{metric}")
    column = f"val_{metric}" if validated else metric
    end = history.direction(column)
    best = history.best(column, largest=end == "max")
    if best is None:
        return []
    name = metric_name(column)
    last = history.series(column)[-1]
    final = Tile(f"Final {name}", metric_text(metric, last), f"epoch {history.epochs[-1]}")
    if end is None:
        return [final]
    return [Tile(f"Best {name}", metric_text(metric, best[1]), f"epoch {best[0]}"), final]


def _epochs(history: History, config: Mapping[str, Any]) -> Tile:
    """Returns the number of epochs that ran, and of how many."""
    planned = planned_epochs(config)
    return Tile("Epochs", f"{history.epochs[-1]:,}", f"of {planned:,}" if planned else "")


def _updates(history: History) -> Tile | None:
    """Returns the number of updates and of the samples that they saw."""
    updates, samples = history.last("updates"), history.last("samples")
    if not isinstance(updates, int):
        return None
    distinct = history.last("distinct_samples")
    seen = f"{samples:,} samples seen" if samples else ""
    if distinct and samples:
        seen = f"{distinct:,} samples seen, in {round(samples / distinct)} instances each"
    return Tile("Updates", f"{updates:,}", seen)


def _batch_size(
    history: History, config: Mapping[str, Any], environment: Mapping[str, Any]
) -> Tile | None:
    """Returns the global batch size and its factors."""
    size = history.last("batch_size") or _setting(config, "batch_size")
    if not isinstance(size, int):
        return None
    first = next((row["batch_size"] for row in history.rows if row.get("batch_size")), size)
    begun, piece = environment.get("ranks"), _setting(config, "sub_batch_size")
    note = ""
    if isinstance(begun, int) and begun > 0:
        # By default a sub-batch is a rank's whole share of the first batch, and stays that as the batch grows.
        piece = piece if isinstance(piece, int) and piece > 0 else first // begun
        ranks = history.last("ranks") or begun
        note = count(ranks, "rank")
        if size % (ranks * piece) == 0:
            note += f" × {count(size // (ranks * piece), 'sub-batch', 'es')} × {piece:,}"
    return Tile("Batch size", f"{size:,}" if first == size else f"{first:,} → {size:,}", note)


def _ranks(history: History) -> Tile | None:
    """Returns how many ranks trained, where they came and went, and when that changed."""
    known = [(epoch, int(n)) for epoch, n in zip(history.epochs, history.series("ranks")) if n == n]
    changes = [(epoch, after) for (epoch, n), (_, after) in zip(known, known[1:]) if n != after]
    if not changes:
        return None
    numbers = [known[0][1], *(after for _, after in changes)]
    return Tile("Ranks", " → ".join(map(str, numbers)), _after([epoch for epoch, _ in changes]))


def _time(history: History) -> Tile | None:
    """Returns the time of all epochs, and the share that curvature took."""
    seconds = [s for s in history.series("seconds") if s == s]
    if not seconds:
        return None
    total = sum(seconds)
    columns = (history.series(f"seconds_{part}") for part in ("curvature", "stability"))
    curvature = sum(s for column in columns for s in column if s == s)
    mean = total / len(seconds)
    each = f"{mean:.1f} s" if mean < 100 else duration(mean)
    share = f", {curvature / total:.1%} on curvature" if curvature and total else ""
    return Tile("Time", duration(total), f"{each} per epoch{share}")


def _switch(history: History) -> Tile | None:
    """Returns when exploration ended; None without phases."""
    if not history.has_phases:
        return None
    epoch, last = history.switch_epoch, history.epochs[-1]
    if epoch is None:
        return Tile("Phase switch", "not reached", f"{count(last, 'epoch')} of exploration")
    return Tile("Phase switch", f"epoch {epoch}", f"{count(last - epoch, 'epoch')} of convergence")


def _decays(history: History) -> Tile | None:
    """Returns how often the learning rate was decayed, and when."""
    epochs = history.decay_epochs
    if not epochs and not history.has_phases:
        return None
    return Tile("Learning-rate decays", str(len(epochs)), _after(epochs))


def _growths(history: History) -> Tile | None:
    """Returns how often the batch grew, and when."""
    epochs = history.growth_epochs
    return Tile("Batch growths", str(len(epochs)), _after(epochs)) if epochs else None


def _after(epochs: Sequence[int]) -> str:
    """Returns the note that lists epochs."""
    shown = ", ".join(str(epoch) for epoch in epochs[:6]) + (" …" if len(epochs) > 6 else "")
    return f"after epoch{'s' if len(epochs) > 1 else ''} {shown}" if epochs else ""


def _setting(config: Mapping[str, Any], name: str) -> Any:
    """Returns the value of the least nested key that ends in a name."""
    keys = [key for key in config if key == name or key.endswith("." + name)]
    return config[min(keys, key=lambda key: key.count("."))] if keys else None


def metric_name(column: str) -> str:
    """Returns a column's name in words: "validation accuracy" for `val_accuracy`, "training top 5" for `top_5`."""
    validated = column.startswith("val_")
    name = column[len("val_") :] if validated else column
    return f"{'validation' if validated else 'training'} {name.replace('_', ' ')}"


def metric_text(metric: str, value: float) -> str:
    """Returns a metric's value as text, with accuracies in percent."""
    if not math.isfinite(value):
        return "not finite"
    return f"{value:.2%}" if is_accuracy(metric) else f"{value:.4g}"


def text_table(lines: Sequence[Sequence[str]], left: int = 1) -> str:
    """Returns lines of cells as aligned text: the first `left` columns to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines)]
    sides = ["<" if place < left else ">" for place in range(len(widths))]
    aligned = (
        "   ".join(f"{cell:{side}{width}}" for cell, side, width in zip(cells, sides, widths))
        for cells in lines
    )
    return "\n".join(line.rstrip() for line in aligned)


def count(number: int, noun: str, plural: str = "s") -> str:
    """Returns a number with its noun: "1 trial", "2 batches"."""
    return f"{number:,} {noun}{'' if number == 1 else plural}"


def duration(seconds: float) -> str:
    """Returns a time in its two largest units: "42 s", "12 min 34 s", "2 h 30 min"."""
    if not math.isfinite(seconds):
        return "unknown"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left} min" if hours else f"{minutes} min {rest} s"
