"""What callbacks know of an epoch that is interrupted: those that gather it have `epoch_state` and `restore_epoch`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any


def goes_on_inside(model: Any) -> bool:
    """Whether the epoch that begins goes on where a checkpoint was written inside it, so that nothing starts over."""
    return getattr(getattr(model, "update_state", None), "position", None) is not None


def states(callbacks: Iterable[Any]) -> dict[str, Any]:
    """The `epoch_state()` of the callbacks that have it, by name, as JSON values and arrays."""
    return {name: callback.epoch_state() for name, callback in _named(callbacks)}


def restore(callbacks: Iterable[Any], found: dict[str, Any]) -> None:
    """Calls `restore_epoch(state)` of the callbacks that have a state, after their `on_epoch_begin`."""
    for name, callback in _named(callbacks):
        if name in found:
            callback.restore_epoch(found[name])


def _named(callbacks: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    count: Counter[str] = Counter()
    for callback in callbacks:
        if hasattr(callback, "epoch_state") and hasattr(callback, "restore_epoch"):
            name = type(callback).__name__
            count[name] += 1
            yield f"{name}_{count[name]}" if count[name] > 1 else name, callback
