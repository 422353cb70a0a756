"""Checkpoints of a run: whole or absent, checked when read, the newest good one used."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import hashlib
import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from tflbt import checks
from tflbt.distributed import comm
from tflbt.runs import received
from tflbt.training import agreement

WEIGHTS = "variables"
STATE = "state.json"
ARRAYS = "arrays.npz"  # if the state has any
ARRAY = "array_in_npz"  # stands in the state for an array, with its name
MANIFEST = "manifest.json"
MOST_STATE_BYTES = (
    2**28
)  # of state.json; a callback may keep a number for each of millions of updates
# What TensorFlow raises about variables that are others than the model's, or whose files somebody has forged.
_UNREADABLE = (AssertionError, ValueError, LookupError, RuntimeError, tf.errors.OpError)
_NAME = re.compile(r"(?:\.replaced_)?epoch_(\d+)(?:_update_(\d+))?")


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run, a folder each: `epoch_00012/` with variables, state.json and manifest.json.

    After 12 epochs and 345 updates of the next it is `epoch_00012_update_000345/`, of which only the newest stays.

    A checkpoint is written under another name, flushed to the disk and then renamed, so a kill at any moment leaves
    either the whole of it or nothing; the manifest (size and SHA-256 of each file) shows whether it is damaged. It has
    the model's weights, the optimizer's slots, iterations and learning rate, the loss scale, and as JSON the number of
    finished epochs, samples seen, the batch size and the state of callbacks and rules (arrays are in arrays.npz).
    The directory is created with the first checkpoint; the newest `keep`, at least 1, stay, and beside them those of
    `keep_epochs`.
    """

    directory: Path
    keep: int = 2
    keep_epochs: Collection[int] = ()

    def __post_init__(self) -> None:
        """Takes a path as a string too, and checks `keep`."""
        object.__setattr__(self, "directory", received.place(self.directory))
        checks.whole("keep", self.keep, at_least=1)

    def write(
        self,
        model: tf.keras.Model,
        epochs: int,
        state: dict[str, Any],
        best: Collection[int] = (),
        updates: int = 0,
    ) -> Path:
        """Writes a checkpoint with `state` (JSON values and NumPy arrays) on one rank, and returns its folder.

        Of the other checkpoints those of the epochs `best` stay, too. `updates` are those of the epoch after the
        finished ones.

        Raises:
            OSError: If it cannot be written; earlier ones are intact.
        """
        inside = f"_update_{updates:06d}" if updates else ""
        final = self.directory / f"epoch_{epochs:05d}{inside}"
        draft = self.directory / f".writing_{final.name}"
        try:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            optimizer = agreement.plain_optimizer_name(model.optimizer)
            _write_files(model, draft, {**state, "epochs": epochs, "optimizer": optimizer})
            _put_in_place(draft, final)
        except (OSError, tf.errors.OpError) as error:
            shutil.rmtree(draft, ignore_errors=True)
            reason = getattr(error, "strerror", None) or getattr(error, "message", None) or error
            raise OSError(
                getattr(error, "errno", None) or errno.EIO,
                f"cannot write the checkpoint of epoch {epochs} ({str(reason).strip()}); is the disk full? Earlier "
                "checkpoints are intact: free space and start again with --resume",
                str(final),
            ) from error
        self._tidy((epochs, updates), best)
        return final

    def _tidy(self, newest: tuple[int, int], best: Collection[int]) -> None:
        """Removes the oldest, later ones (from a run that this one repeats) and what killed writes left."""
        found = {path: _place(path) for path in self.found()}
        gone = [p for p, place in found.items() if place > newest or (place[1] and place != newest)]
        passing = [p for p, (epochs, inside) in found.items() if not inside and p not in gone]
        passing = [path for path in passing if found[path][0] not in self.keep_epochs]
        oldest = [] if newest[1] else passing[: -self.keep]  # inside an epoch none of an epoch goes
        for path in (*gone, *(path for path in oldest if found[path][0] not in best)):
            _remove(path)
        for path in (*self.directory.glob(".writing_*"), *self.directory.glob(".removed_*")):
            shutil.rmtree(path, ignore_errors=True)

    def found(self) -> list[Path]:
        """The checkpoints' folders, oldest first, damaged or not.

        A checkpoint that was about to be replaced when the run was killed (`.replaced_epoch_00012`) counts.
        """
        if not self.directory.is_dir():
            return []
        found = [path for path in self.directory.iterdir() if _NAME.fullmatch(path.name)]
        return sorted(found, key=lambda path: (_place(path), path.name))

    def newest_place(self) -> tuple[int, int]:
        """The finished epochs of the newest checkpoint, damaged or not, and its updates of the next; 0 without one."""
        return max(map(_place, self.found()), default=(0, 0))

    def newest_good(self) -> Path | None:
        """The newest checkpoint whose files match its manifest; None if there is none."""
        for path in reversed(self.found()):
            fault = damage(path)
            if fault is None:
                return path
            logging.warning("checkpoint %s is damaged (%s); trying the one before", path, fault)
        return None

    def restore_newest(self, model: tf.keras.Model) -> dict[str, Any] | None:
        """Restores the newest good checkpoint, if there is any, on one rank; returns its state, "epochs" included."""
        path = self.newest_good()
        if path is None:
            if damaged := self.found():  # to start over would throw the run away
                raise ValueError(
                    f"every checkpoint in {self.directory} is damaged ({', '.join(path.name for path in damaged)}): "
                    "restore one from a backup, or move the folder away to start over."
                )
            return None
        state = _read_state(path)
        written_by, now = state.get("optimizer"), agreement.plain_optimizer_name(model.optimizer)
        if written_by != now:
            raise ValueError(_mismatch(path, f"it was written with {written_by}, not {now}"))
        agreement.build_optimizer(model.optimizer, model.trainable_variables)
        try:
            with _plainly_named(path) as folder:
                _variables(model).read(os.path.join(folder, WEIGHTS)).assert_consumed()
        except _UNREADABLE as error:
            raise ValueError(_mismatch(path, _reason(error))) from error
        return state


def _read_state(path: Path) -> dict[str, Any]:
    """Returns what the JSON and the arrays of a checkpoint's folder say.

    Raises:
        ValueError: If they are not what `Checkpoints.write` leaves; names the file.
    """
    state = received.read_json(path / STATE, MOST_STATE_BYTES)
    epochs = state.get("epochs")
    if type(epochs) is not int or epochs < 0:
        raise ValueError(f"{path / STATE} is damaged: epochs={epochs!r} is no number of epochs.")
    if not (path / ARRAYS).exists():
        return state
    try:
        with zipfile.ZipFile(path / ARRAYS) as archive:  # as `np.savez` writes it, nothing inflates
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("an array is compressed")
        with np.load(path / ARRAYS) as arrays:
            return _with_arrays(state, arrays)
    except (ValueError, KeyError, MemoryError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{path / ARRAYS} is damaged: {_reason(error)}.") from error


@contextlib.contextmanager
def _plainly_named(path: Path) -> Iterator[str]:
    """Gives a checkpoint's folder a name in which TensorFlow sees no pattern, as it does in `run[1]`."""
    if not set("*?[\\") & set(str(path)):
        yield str(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        link = os.path.join(folder, "checkpoint")
        os.symlink(path.resolve(), link)
        yield link


def _without_arrays(state: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The state with a mark in place of each array; the arrays go into `arrays`, by the mark's name."""
    if isinstance(state, np.ndarray):
        name = str(len(arrays))
        arrays[name] = state
        return {ARRAY: name}
    if isinstance(state, dict):
        return {key: _without_arrays(value, arrays) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return [_without_arrays(value, arrays) for value in state]
    return state


def _with_arrays(state: Any, arrays: Any) -> Any:
    """The state with its arrays in place of the marks."""
    if isinstance(state, dict):
        if set(state) == {ARRAY}:
            return arrays[state[ARRAY]]
        return {key: _with_arrays(value, arrays) for key, value in state.items()}
    if isinstance(state, list):
        return [_with_arrays(value, arrays) for value in state]
    return state


def _reason(error: BaseException) -> str:
    """The first line of an error's message, cut."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def _mismatch(path: Path, reason: str) -> str:
    of_another = f"checkpoint {path} is not of this model and optimizer ({reason})"
    return f"{of_another}: resume with the configuration that wrote it."


def _variables(model: tf.keras.Model) -> tf.train.Checkpoint:
    """Weights and the optimizer's variables, in the order in which ranks share them."""
    return tf.train.Checkpoint(
        weights=list(model.weights), optimizer=agreement.optimizer_variables(model.optimizer)
    )


def _write_files(model: tf.keras.Model, draft: Path, state: dict[str, Any]) -> None:
    agreement.build_optimizer(model.optimizer, model.trainable_variables)
    _variables(model).write(str(draft / WEIGHTS))
    arrays: dict[str, np.ndarray] = {}
    rules = model.rules.state() if hasattr(model, "rules") else {}
    state = {**state, "rules": rules} if rules else state
    (draft / STATE).write_text(json.dumps(_without_arrays(state, arrays), indent=1))
    if arrays:
        np.savez(draft / ARRAYS, **arrays)
    manifest = {path.name: _fingerprint(path) for path in sorted(draft.iterdir())}
    (draft / MANIFEST).write_text(json.dumps(manifest, indent=1))
    for path in (*draft.iterdir(), draft):
        _flush(path)


def _place(path: Path) -> tuple[int, int]:
    """The finished epochs of a checkpoint, and its updates of the next."""
    epochs, updates = _NAME.fullmatch(path.name).groups()  # type: ignore[union-attr]
    return int(epochs), int(updates or 0)


def _put_in_place(draft: Path, final: Path) -> None:
    old = final.with_name(f".replaced_{final.name}")
    if final.exists():
        # A damaged checkpoint of this epoch, or one that a resumed run writes again.
        shutil.rmtree(old, ignore_errors=True)
        final.rename(old)
    draft.rename(final)
    _flush(final.parent)
    _remove(old)


def _remove(path: Path) -> None:
    """Deletes a checkpoint under another name, so that a kill halfway leaves no half of it."""
    removed = path.with_name(f".removed_{path.name}")
    shutil.rmtree(removed, ignore_errors=True)
    # It may not be there, or cannot be removed: the next write will try again.
    with contextlib.suppress(OSError):
        path.rename(removed)
        shutil.rmtree(removed, ignore_errors=True)


def _flush(path: Path) -> None:
    """Makes sure that a file's bytes, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fingerprint(path: Path) -> list[Any]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return [path.stat().st_size, digest.hexdigest()]


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint's folder; None if its files are the manifest's, unchanged and no links."""
    try:
        manifest = received.read_json(path / MANIFEST)
        with os.scandir(path) as entries:
            there = {
                entry.name: entry.is_file(follow_symlinks=False)
                for entry in entries
                if entry.name != MANIFEST and not entry.name.startswith(".")  # a file system's
            }
        for name in sorted(there.keys() ^ {*manifest, STATE, f"{WEIGHTS}.index"}):
            return f"{name} is missing" if name not in there else f"{name} is not in {MANIFEST}"
        for name, fingerprint in manifest.items():
            if not there[name] or _fingerprint(path / name) != fingerprint:
                return f"{name} was changed"
    except (OSError, ValueError) as error:
        return str(error)
    return None


@checks.arguments
def read_weights(path: Path) -> list[np.ndarray]:
    """Returns the weights in a checkpoint's folder, in the order of `model.weights`; no model is needed.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it is damaged.
    """
    if not path.is_dir():
        reason = (
            "no checkpoint of this epoch (checkpoint.keep_epochs and checkpoint.initial keep them)"
        )
        raise FileNotFoundError(errno.ENOENT, reason, str(path))
    if (fault := damage(path)) is not None:
        raise ValueError(f"{path} is damaged: {fault}.")
    try:
        with _plainly_named(path) as folder:
            reader = tf.train.load_checkpoint(os.path.join(folder, WEIGHTS))
            names = {}
            for name in reader.get_variable_to_shape_map():
                if found := re.fullmatch(r"weights/(\d+)/\.ATTRIBUTES/VARIABLE_VALUE", name):
                    names[int(found[1])] = name
            return [reader.get_tensor(names[place]) for place in sorted(names)]
    except _UNREADABLE as error:
        raise ValueError(f"{path} is damaged: {_reason(error)}.") from error


def write_together(
    checkpoints: Checkpoints,
    model: tf.keras.Model,
    epochs: int,
    state: dict[str, Any],
    best: Collection[int] = (),
    updates: int = 0,
) -> None:
    """Writes a checkpoint on the chief; a failure there raises OSError on every rank."""
    reduction = comm.reduction_of(model)
    write = functools.partial(checkpoints.write, model, epochs, state, best, updates)
    comm.on_chief(write, "tflbt.checkpoint", reduction)


def restore_together(checkpoints: Checkpoints, model: tf.keras.Model) -> dict[str, Any] | None:
    """Restores on the chief, from which `fit` shares the weights, and gives every rank the state and its rules'."""
    reduction = comm.reduction_of(model)
    state = comm.on_chief(lambda: checkpoints.restore_newest(model), "tflbt.restore", reduction)
    if state is not None and "rules" in state and hasattr(model, "restore_rules"):
        model.restore_rules(state["rules"])
    return state
