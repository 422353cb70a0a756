"""The state of all callbacks of a `fit`: found, named for a checkpoint, and matched with the callbacks that resume."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import tensorflow as tf
from absl import logging

from tflbt.callbacks.states.plain_state import can_be_kept, pack, same
from tflbt.callbacks.states.watched import (
    Watched,
    has_plain_state,
    keeps_own_state,
    marks_of,
    restore,
    values_of,
)
from tflbt.distributed import comm
from tflbt.training import agreement


class CallbackStates:
    """Keeps and restores the state of the callbacks of a `fit`.

    Callbacks with `state()` and `restore(state)` keep what they want. Of any other, the attributes are kept that have
    changed since training began, or that its `on_train_begin` has set: numbers, strings, arrays, variables, and
    collections of these. A change that cannot be kept is named in a warning, once.
    """

    def __init__(self, callbacks: Iterable[Any]) -> None:
        self._watched: list[Watched] = []
        self._own: dict[str, Any] = {}  # states of a checkpoint that wait for their callbacks
        self._plain: (
            dict[str, Any] | None
        ) = {}  # likewise; None: the checkpoint is of a version that kept none
        self._begun: list[tuple[Watched, Any]] = []  # what `begin` has restored
        self._restored: set[int] = set()
        self._reported: set[str] = set()
        self._see(callbacks, named=True)

    def _see(self, callbacks: Iterable[Any], named: bool = False, behind: bool = False) -> None:
        seen = {id(watched.callback) for watched in self._watched}
        for callback in callbacks:
            if id(callback) not in seen and (
                keeps_own_state(callback) or has_plain_state(callback)
            ):
                seen.add(id(callback))
                self._watched.append(Watched(callback, named, marks_of(callback), behind=behind))

    def last_required(self, callbacks: list[Any]) -> int:
        """Returns the place of the last callback whose epoch must end before a checkpoint is written; -1 for none."""
        self._see(callbacks)
        required = {id(watched.callback) for watched in self._watched if watched.required}
        return max((i for i, each in enumerate(callbacks) if id(each) in required), default=-1)

    def of_fit(self, before: Iterable[Any], behind: Iterable[Any]) -> None:
        """Takes the callbacks before and behind Checkpoint in a `fit`, and restores those with a `restore`."""
        self._see(before)
        self._see(behind)
        behind_ids = {id(callback) for callback in behind}
        for watched in self._watched:
            watched.behind = id(watched.callback) in behind_ids
        self._restore_own()

    def begin(self, model: tf.keras.Model) -> None:
        """Restores attributes, once each callback's `on_train_begin` has run, which may reset them."""
        of_model = variables_of(model)
        plain = [watched for watched in self._watched if has_plain_state(watched.callback)]
        for watched in plain:
            if watched.begun is None:
                watched.begun = marks_of(watched.callback, of_model)
        if self._plain is None and plain and comm.is_chief():
            names = ", ".join(dict.fromkeys(watched.name for watched in plain))
            logging.warning(
                "The checkpoint is of a version that kept no state of %s: it begins anew.", names
            )
        self._begun, self._plain = _pairs(self._plain or {}, plain)
        self.again(model)

    def again(self, model: tf.keras.Model) -> None:
        """Restores the attributes once more, where the beginning of an epoch may have reset them."""
        of_model = variables_of(model)
        for watched, entry in self._begun:
            restore(watched, entry, of_model)

    def own_state(self) -> dict[str, Any]:
        """Returns the states of the callbacks that have `state()`, by name."""
        own = [watched for watched in self._watched if keeps_own_state(watched.callback)]
        return {name: watched.callback.state() for name, watched in _named(own)}

    def plain_state(self, model: tf.keras.Model) -> dict[str, Any]:
        """Returns, by the callback's name, its attributes that have changed, and those that its beginning has set."""
        of_model = variables_of(model)
        plain = [watched for watched in self._watched if has_plain_state(watched.callback)]
        return {name: self._attributes(watched, of_model) for name, watched in _named(plain)}

    def restore(
        self, own: dict[str, Any], plain: dict[str, Any] | None, without: Collection[str] = ()
    ) -> None:
        """Takes a checkpoint's states but for some; callbacks that are known and have `restore` get theirs now."""
        self._restored.clear()
        self._own = _except(own, without)
        self._plain = None if plain is None else _except(plain, without)
        self._restore_own()

    def require_all_restored(self) -> None:
        """Raises ValueError for a state that waits in vain; the attributes of a user's own class are only named."""
        changed = {name: entry for name, entry in (self._plain or {}).items() if entry["changed"]}
        present = ", ".join(dict.fromkeys(watched.name for watched in self._watched))
        text = f"which is not among this fit's callbacks ({present or 'none of them has a state'})"
        required = [*self._own, *(name for name in changed if changed[name]["required"])]
        if required:
            raise ValueError(
                f"The checkpoint holds the state of {', '.join(required)}, {text}: give fit the callbacks of the run "
                f"that is to go on, or leave it out by resume(model, without={required})."
            )
        if changed:
            logging.warning(
                "The checkpoint's state of %s, %s, is left out.", ", ".join(changed), text
            )

    def forget(self) -> None:
        """Drops the states that still wait."""
        self._own, self._plain = {}, {}

    def _restore_own(self) -> None:
        own = [
            watched
            for watched in self._watched
            if keeps_own_state(watched.callback) and id(watched.callback) not in self._restored
        ]
        pairs, self._own = _pairs(self._own, own)
        for watched, state in pairs:
            watched.callback.restore(state)
            self._restored.add(id(watched.callback))

    def _attributes(self, watched: Watched, of_model: frozenset[int]) -> dict[str, Any]:
        """What a checkpoint keeps of a callback without `state()`."""
        values, now = values_of(watched.callback), marks_of(watched.callback, of_model)
        begun = watched.before if watched.begun is None else watched.begun
        changed = [name for name in now if not same(begun.get(name), now[name])]
        can = {name for name in values if can_be_kept(now[name]) and not watched.behind}
        self._report(watched, [name for name in changed if name not in can])
        set_by_beginning = [
            name
            for name in now
            if name in can and name not in changed and not same(watched.before.get(name), now[name])
        ]
        entry = {
            "changed": {name: pack(values[name], of_model) for name in changed if name in can},
            "begun": {name: pack(values[name], of_model) for name in set_by_beginning},
            "required": watched.required,
        }
        several = sum(other.name == watched.name for other in self._watched) > 1
        return {**entry, "settings": watched.settings(now)} if several else entry

    def _report(self, watched: Watched, lost: list[str]) -> None:
        """Says once which changes of a callback no checkpoint keeps."""
        names = [f"{watched.name}.{name}" for name in lost]
        new = [name for name in names if name not in self._reported]
        self._reported.update(new)
        if new and watched.behind:
            logging.warning(
                "Checkpoint cannot keep %s of a callback behind it: place Checkpoint last.",
                " and ".join(new),
            )
        elif new:
            logging.warning(
                "Checkpoint cannot keep %s, which training changes: a resumed run begins with what the constructor "
                "sets. Give the callback methods state() and restore(state), which keep it as JSON values and arrays.",
                " and ".join(new),
            )


def variables_of(model: tf.keras.Model) -> frozenset[int]:
    """Returns the ids of the variables that a checkpoint keeps, or an epoch resets, without any callback."""
    variables = [
        *(model.variables if model.built else []),
        *agreement.optimizer_variables(model.optimizer),
    ]
    variables += [variable for metric in model.metrics for variable in metric.variables]
    return frozenset(id(variable) for variable in variables)


def _named(watched: list[Watched]) -> Iterator[tuple[str, Watched]]:
    """Yields each under its class's name; the second of a class is `Name_2`."""
    count: Counter[str] = Counter()
    for each in watched:
        count[each.name] += 1
        yield f"{each.name}_{count[each.name]}" if count[each.name] > 1 else each.name, each


def _except(entries: dict[str, Any], without: Collection[str]) -> dict[str, Any]:
    classes = {name: re.sub(r"_\d+$", "", name) for name in entries}
    return {
        name: entry
        for name, entry in entries.items()
        if name not in without and classes[name] not in without
    }


def _pairs(
    entries: dict[str, Any], watched: list[Watched]
) -> tuple[list[tuple[Watched, Any]], dict[str, Any]]:
    """Returns callbacks with their entries, and the entries that are left.

    Several callbacks of one class are told apart by their settings, and those of equal settings by their order.
    """
    pairs, left = [], dict(entries)
    for name in dict.fromkeys(each.name for each in watched):
        alike = [each for each in watched if each.name == name]
        keys = [key for key in left if re.fullmatch(rf"{re.escape(name)}(_\d+)?", key)]
        for fits in (_has_settings, lambda callback, entry: True):
            for key in keys:
                match = next(
                    (each for each in alike if key in left and fits(each, left[key])), None
                )
                if match is not None:
                    alike.remove(match)
                    pairs.append((match, left.pop(key)))
    return pairs, left


def _has_settings(watched: Watched, entry: Any) -> bool:
    settings = entry.get("settings", {}) if isinstance(entry, dict) else {}
    return all(watched.before.get(name) == its_mark for name, its_mark in settings.items())
