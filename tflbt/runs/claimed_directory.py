"""A directory that one job at a time writes into: created for something new, or opened to continue it."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from tflbt.runs import atomic_file, directory_lock, received
from tflbt.runs.config import as_plain, differences, to_json
from tflbt.runs.directory_lock import DirectoryLock

LISTED = 5  # differences that an error names; of more, it says how many there are
Claimed = TypeVar("Claimed", bound="ClaimedDirectory")


class ClaimedDirectory:
    """Base of the directories of runs and searches; the constructor only names the places.

    `create` and `open` hold the directory's lock for as long as the object lives, so that two jobs (a requeued one and
    the one that it should follow) never write into one directory. They set `claimed`: what is there may be continued.
    Under a bare path it may be somebody else's result. Only the chief rank writes.
    """

    #: What it is the directory of, in error messages.
    kind = ""
    #: The JSON file that describes it. It is written last: a directory that has it has all that a resumption reads.
    description_name = ""
    #: The other files and folders that are written there.
    written: tuple[str, ...] = ()
    #: The error of an `open` with another description; has the fields `path` and `changes`.
    refusal = ""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = received.place(path)
        self.claimed = False
        self._lock: DirectoryLock | None = None

    @classmethod
    def create(
        cls: type[Claimed], path: str | os.PathLike[str], description: Mapping[str, Any]
    ) -> Claimed:
        """Creates a new directory; an existing one that holds no run or search (but a log, say) is used as it is.

        The description is a dictionary of values that JSON can hold, or an `ml_collections.ConfigDict`.

        Raises:
            FileExistsError: If the directory holds a run or a search, which stays untouched.
            NotADirectoryError: If the path is a file.
            BlockingIOError: If another process is writing there.
            ValueError: If a value has no JSON form (names the key), the path is empty, or a symbolic link there leads
                out of the directory.
            OSError: If the directory cannot be made or written; names the path.
        """
        place = cls(path)
        text = to_json(as_plain(description))
        place._require_free()
        place.require_contained()
        with atomic_file.naming(place.path, f"cannot make the {cls.kind} directory"):
            place.path.mkdir(parents=True, exist_ok=True)
        place._lock = directory_lock.hold(place.path)
        place._require_free()  # again: another job may have been quicker
        place._write_more()
        atomic_file.write(place.path / cls.description_name, text)
        place.claimed = True
        return place

    @classmethod
    def open(
        cls: type[Claimed],
        path: str | os.PathLike[str],
        description: Mapping[str, Any] | None = None,
        may_differ: Collection[str] = (),
    ) -> Claimed:
        """Opens a directory that was created before, to continue what it holds; changes nothing in it.

        What it holds must equal the description, if any, except in the dotted keys (`"data.folder"`) of `may_differ`.

        Raises:
            FileNotFoundError: If there is nothing to continue.
            BlockingIOError: If another process is writing there.
            ValueError: If the JSON file is damaged, or differs (names the first keys with their old and new values), or
                a symbolic link there leads out of the directory.
            OSError: If the directory cannot be read.
        """
        place = cls(path)
        if not (place.path / cls.description_name).exists():
            raise FileNotFoundError(
                errno.ENOENT,
                f"no {cls.kind} to open here ({cls.description_name} is missing); start one without --resume",
                str(place.path),
            )
        place.require_contained()
        before = received.read_json(place.path / cls.description_name)
        now = before if description is None else as_plain(description)
        changes = differences(cls._comparable(before), cls._comparable(now), may_differ)
        if changes:
            more = len(changes) - LISTED
            if more > 0:
                others = f"and {more} more (compare with {place.path / cls.description_name})"
                changes = [*changes[:LISTED], others]
            raise ValueError(cls.refusal.format(path=place.path, changes="; ".join(changes)))
        place._lock = directory_lock.hold(place.path)
        place.claimed = True
        return place

    def require_contained(self) -> None:
        """Raises ValueError if something that is written here would end outside, by a symbolic link."""
        received.require_contained(self.path, (".lock", self.description_name, *self.written))

    def _require_free(self) -> None:
        """Raises if the place is taken."""
        if self.path.exists() and not self.path.is_dir():
            reason = f"the {self.kind} directory is a file"
            raise NotADirectoryError(errno.ENOTDIR, reason, str(self.path))
        reason = self._taken()
        if reason:
            raise FileExistsError(errno.EEXIST, f"this directory holds {reason}", str(self.path))

    def _taken(self) -> str:
        """Returns what the directory holds already, and what to do; "" if it is free."""
        return ""

    def _write_more(self) -> None:
        """Writes further files of a new directory."""

    @staticmethod
    def _comparable(description: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns a description in the form in which differences are reported."""
        return description
