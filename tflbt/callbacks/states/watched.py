"""A callback of a fit as a checkpoint sees it: its attributes, how to tell that they change, how they come back."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from absl import logging

from tflbt import legacy_keras
from tflbt.callbacks.states.plain_state import (
    OBJECTS_WITH_VARIABLES,
    can_be_kept,
    mark,
    same,
    unpack,
)
from tflbt.distributed import comm

# They write, print or begin anew by themselves, and decide nothing.
_WITHOUT_STATE = (
    tf.keras.callbacks.BackupAndRestore,
    tf.keras.callbacks.BaseLogger,
    tf.keras.callbacks.CSVLogger,
    tf.keras.callbacks.History,
    tf.keras.callbacks.ProgbarLogger,
    tf.keras.callbacks.RemoteMonitor,
    tf.keras.callbacks.TensorBoard,
)
# These packages' callbacks have `state` and `restore`, or take all that they need from the epoch's number.
_PACKAGES = ("tflbt", "horovod")
# What Keras gives every callback.
_BY_KERAS = set(vars(tf.keras.callbacks.Callback())) | {"params"}


def keeps_own_state(callback: Any) -> bool:
    """Says whether a callback has `state()` and `restore(state)`."""
    return hasattr(callback, "state") and hasattr(callback, "restore")


def has_plain_state(callback: Any) -> bool:
    """Says whether a callback's attributes are its state."""
    package = type(callback).__module__.partition(".")[0]
    return not (
        keeps_own_state(callback) or isinstance(callback, _WITHOUT_STATE) or package in _PACKAGES
    )


@dataclasses.dataclass(eq=False)
class Watched:
    """A callback, and how its attributes were before and right after its `on_train_begin`."""

    callback: Any
    named: bool  # in the constructor of Checkpoint
    before: dict[str, Any]
    begun: dict[str, Any] | None = None
    behind: bool = False  # its epoch ends after a checkpoint is written

    @property
    def name(self) -> str:
        """The name of its class."""
        return type(self.callback).__name__

    @property
    def required(self) -> bool:
        """Whether a run cannot go on without it: the user named it, or it is no user's own class without `state`."""
        by_keras = legacy_keras.package_of(self.callback) == "keras"
        return self.named or by_keras or keeps_own_state(self.callback)

    def settings(self, now: dict[str, Any]) -> dict[str, str]:
        """Returns the scalars that training has not changed, by which callbacks of one class are told apart."""
        return {
            name: its_mark
            for name, its_mark in now.items()
            if can_be_kept(its_mark)
            and its_mark[0] not in "[{"
            and same(self.before.get(name), its_mark)
        }


def values_of(callback: Any) -> dict[str, Any]:
    """Returns a callback's attributes, and the collections of its class that all its instances share."""
    bases = type(callback).__mro__
    classes = (
        bases[: bases.index(tf.keras.callbacks.Callback)]
        if isinstance(callback, tf.keras.callbacks.Callback)
        else bases[:1]
    )
    shared = {
        name: value
        for cls in reversed(classes)
        for name, value in vars(cls).items()
        if isinstance(value, (list, dict, set)) and not name.startswith("__")
    }
    values = {**shared, **vars(callback)}
    return {name: value for name, value in values.items() if name not in _BY_KERAS}


def marks_of(callback: Any, of_model: frozenset[int] = frozenset()) -> dict[str, Any]:
    """Returns what shows whether attributes, or the variables that functions among them use, have changed."""
    marks = {}
    for name, value in values_of(callback).items():
        marks[name] = mark(value, of_model)
        for variable, content in _used_by(value):
            its_mark = mark(content, of_model)
            if can_be_kept(its_mark):
                marks[f"{name} ({variable})"] = its_mark
    return marks


def _used_by(function: Any) -> Iterator[tuple[str, Any]]:
    """Yields the names and values outside of a function, lambda callbacks' for example, that hold its state."""
    if not (inspect.isfunction(function) or inspect.ismethod(function)):
        return
    with contextlib.suppress(ValueError):  # a variable without a value yet
        found = inspect.getclosurevars(function)
        for name, value in {**found.globals, **found.nonlocals}.items():
            if not isinstance(value, OBJECTS_WITH_VARIABLES):
                yield name, value


def restore(watched: Watched, entry: dict[str, Any], of_model: frozenset[int]) -> None:
    """Gives a callback its attributes back."""
    values = values_of(watched.callback)
    for name, packed in {**entry["begun"], **entry["changed"]}.items():
        before = mark(values.get(name), of_model)
        try:
            value = unpack(packed, values.get(name), of_model)
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(
                f"{watched.name}.{name} cannot take its state from the checkpoint ({error}): give fit the callbacks of "
                f"the run that is to go on, or leave it out by resume(model, without=[{watched.name!r}])."
            ) from error
        setattr(watched.callback, name, value)
        if name in entry["begun"] and not same(before, mark(value, of_model)) and comm.is_chief():
            logging.warning(
                "%s.%s, which on_train_begin sets, is again what it was in the run that goes on, %.200r.",
                watched.name,
                name,
                value,
            )
