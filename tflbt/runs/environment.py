"""Where a run ran: versions, ranks, GPUs, processors, command line, commit and date."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

# Packages by the distributions that may provide them.
_PARTS = {
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tensorflow-intel", "tensorflow-macos"),
    "keras": ("tf_keras", "keras"),
    "horovod": ("horovod",),
    "numpy": ("numpy",),
    "tensorflow_addons": ("tensorflow-addons",),
    "tflbt": ("tflbt",),
}
_GIT_SECONDS = 5  # a checkout on a slow network drive must not hold up the start


def describe() -> dict[str, Any]:
    """Describes the environment of this process as a dictionary for `environment.json`.

    It has `date` (ISO 8601, UTC), `command`, `python`, the versions of packages (None if not installed), `platform`,
    `cpus` (of this machine), `ranks`, `gpus` (names, as this rank sees them) and `git_commit` (None outside a checkout;
    ends in `+changes` if tracked files differ from it). The host's name is left out on purpose: run directories are
    passed on.
    """
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": [*getattr(sys, "orig_argv", [sys.executable, *sys.argv])],
        "python": platform.python_version(),
        **{part: _version(names) for part, names in _PARTS.items()},
        "platform": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "ranks": _ranks(),
        "gpus": _gpus(),
        "git_commit": git_commit(Path(__file__).resolve().parents[1]),
    }


def _version(names: tuple[str, ...]) -> str | None:
    """Returns the version of the first distribution of `names` that is installed."""
    for name in names:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _ranks() -> int:
    """Returns the number of ranks that train together."""
    from tflbt.distributed import comm  # here, so that reading a report needs no TensorFlow

    return comm.size()


def _gpus() -> list[str]:
    """Returns the names of the GPUs this process sees."""
    import tensorflow as tf

    details = tf.config.experimental.get_device_details
    devices = tf.config.list_physical_devices("GPU")
    return [str(details(device).get("device_name", device.name)) for device in devices]


def git_commit(package: Path) -> str | None:
    """Returns the commit of the checkout that has a package, with `+changes` if tracked files differ, or None.

    A package that is installed into an environment inside some other project's checkout is not part of that project:
    only a package whose `__init__.py` git tracks has a commit.
    """
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit = _git(package, "rev-parse", "HEAD")
    if commit is None:
        return None
    changed = _git(package, "status", "--porcelain", "--untracked-files=no")
    return commit + ("+changes" if changed else "")


def _git(folder: Path, *arguments: str) -> str | None:
    """Returns the output of a git command, or None if it fails or git is not installed."""
    try:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.check_output(
            command, stderr=subprocess.DEVNULL, text=True, timeout=_GIT_SECONDS
        ).strip()
    except (OSError, subprocess.SubprocessError):
        return None
