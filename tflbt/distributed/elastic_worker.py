"""A rank's side of a job whose ranks come and go: its place, meeting again, and Horovod's loop around the training."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn, Protocol
from urllib.request import Request, urlopen

import tensorflow as tf

from tflbt.distributed import comm, errors, membership, watchdog
from tflbt.distributed.launcher import launched

# Variables and words between launcher and process.
STANDBY_VARIABLE = "TFLBT_ELASTIC_STANDBY"
RESUME_VARIABLE = "TFLBT_ELASTIC_RESUME"
MAX_RANKS_VARIABLE = "TFLBT_ELASTIC_MAX_RANKS"
READY = "TFLBT_ELASTIC_READY"
AGAIN = 75  # the exit status of a rank that can do nothing but be started again


class Training(Protocol):
    """What `run` carries through the coming and going of ranks."""

    def restore(self) -> None:
        """Goes back to what was committed last."""

    def share(self) -> None:
        """Gives all ranks, which have just met, what was committed last."""

    def train(self) -> Any:
        """Trains to the end, or until `RanksChange` is raised on all ranks."""


class RanksChange(Exception):  # noqa: N818 - no error
    """Raised on all ranks alike: they are to meet again, as some come or go."""


def is_standby() -> bool:
    """Whether this process has no place in the job yet."""
    return os.environ.get(STANDBY_VARIABLE) == "1" and not launched()


def must_resume() -> bool:
    """Whether the launcher has started the job again, to go on from its newest checkpoint."""
    return os.environ.get(RESUME_VARIABLE) == "1"


def max_ranks() -> int:
    """The most ranks that the launcher grants."""
    return int(os.environ.get(MAX_RANKS_VARIABLE, "1"))


def wait_for_place() -> None:
    """Says that this process is ready, and returns when it has got its place; ends it if there will be none."""
    print(READY, flush=True)
    line = sys.stdin.readline()
    if not line.strip():
        sys.exit(0)
    os.environ.update(json.loads(line))


def end_with_launcher() -> None:
    """Ends this process, from now on, when its launcher ends, however that happens; answers its questions."""

    def watch() -> None:
        while sys.stdin.readline():
            with contextlib.suppress(OSError):
                _put("alive", os.environ["HOROVOD_HOSTNAME"])
        os._exit(AGAIN)

    threading.Thread(target=watch, name="tflbt-launcher", daemon=True).start()


def end_at_once() -> NoReturn:
    """Ends this process, which has nothing to save, to be started again; exit handlers could take half a minute."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(AGAIN)


def report(epochs: int, sizes: list[int]) -> None:
    """Tells the launcher how many epochs are finished, and the numbers of ranks that fit the batch."""
    _put("progress", f"{epochs}:{','.join(map(str, sizes))}", 30)


def ranks_are_to_change() -> bool:
    """Whether ranks are to come or go, as the launcher says; asked by one rank."""
    return _get("tflbt/changed") == b"1"


def lose(seat: str, line: str) -> None:
    """Tells the launcher to end the rank in a seat, without which the others go on, and why."""
    _put("stuck", f"{seat}:{line}")


def _put(key: str, text: str, timeout: float = 10) -> None:
    data = text.encode("ascii", "backslashreplace")
    urlopen(Request(_url(f"tflbt/{key}"), data=data, method="PUT"), timeout=timeout).close()


def _get(path: str, timeout: float | None = 30) -> bytes:
    with urlopen(_url(path), timeout=timeout) as answer:
        return answer.read()


def _url(path: str) -> str:
    address, port = (os.environ[f"HOROVOD_GLOO_RENDEZVOUS_{name}"] for name in ("ADDR", "PORT"))
    return f"http://{address}:{port}/{path}"


def broadcast(obj: Any, root: int) -> Any:
    """Returns a rank's `obj` on all ranks."""
    import horovod.tensorflow as hvd

    return hvd.broadcast_object(obj, root_rank=root, name="tflbt.elastic")


def run(training: Training) -> Any:
    """Trains, and meets again where ranks come, go or die; returns what `train` returns."""
    from horovod.common.elastic import State, run_fn
    from horovod.common.exceptions import HorovodInternalError, HostsUpdatedInterrupt

    class Shared(State):  # type: ignore[misc]
        """The training as Horovod sees it."""

        def __init__(self) -> None:
            super().__init__(bcast_object=None, get_rank=comm.rank)

        def restore(self) -> None:
            training.restore()

        def sync(self) -> None:
            _mapped(lambda: watchdog.link(lose=lose))
            _mapped(training.share)

    def _mapped(action: Callable[[], Any]) -> Any:
        try:
            return action()
        except RanksChange:
            raise HostsUpdatedInterrupt(skip_sync=False) from None
        except tf.errors.OpError as error:
            # Horovod's own loop knows the messages of three operations, and grouped sums are none of them.
            if "orovod" in str(error) or errors.another_rank_ended(error):
                raise HorovodInternalError(str(error)) from error
            raise

    return run_fn(lambda state: _mapped(training.train), meet_again)(Shared())


def meet_again() -> None:
    """Leaves the ranks that were, and waits for those that will be; ends this process if it is none of them.

    Raises:
        SystemExit: In a process that has no place any more, once the others have met.
    """
    import horovod.tensorflow as hvd

    hvd.shutdown()
    name = os.environ["HOROVOD_HOSTNAME"]
    if _get(f"tflbt/{name}") == b"0":
        watchdog.unlink()
        _get(f"rank_and_size/{name}:0", None)  # Horovod would do this too, and then abort
        sys.exit(0)
    with watchdog.meeting():  # all wait for one that is stopped, until it is ended
        watchdog.note_threads()
        hvd.init()
    watchdog.unlink()
    membership.update(hvd.rank(), hvd.size())
