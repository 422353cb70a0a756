"""The tests of two ranks: one session on both, which run the same tests in step.

`tests/run.sh` starts it as `horovodrun -np 2 python -m pytest`; in one process these tests are skipped. After each
phase of a test the ranks exchange its outcome: what fails on one rank fails on both. A rank that fails while another
still waits for it, or a test that takes too long, ends the session with the test's name and the stack of who hangs.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from tflbt.distributed.launcher import launched

RANKS = 2
LIMIT = 300.0  # seconds that one test may take on a busy machine
GRACE = 15.0  # seconds that the others have to finish a test that failed on one rank


class Exchange:
    """The outcomes of every rank, in files: Horovod itself may be what a failed test has left waiting."""

    def __init__(self, folder: Path, rank: int, size: int, config: pytest.Config) -> None:
        """Starts to watch over this rank's tests."""
        self.folder, self.rank, self.config = folder, rank, config
        self.others = [other for other in range(size) if other != rank]
        self.number, self.where = 0, ""
        self.deadline = float("inf")
        threading.Thread(target=self._watch, daemon=True).start()

    def begin(self, where: str) -> None:
        """A test's next phase starts here."""
        self.where, self.deadline = where, time.monotonic() + LIMIT

    def outcomes(self, mine: tuple[str, str]) -> dict[int, tuple[str, str]]:
        """Tells the others this rank's outcome and its text; returns theirs."""
        file = self._file(self.rank)
        unfinished = file.with_name(f"{file.name}.new")
        unfinished.write_bytes(pickle.dumps((self.where, *mine)))
        unfinished.rename(file)
        patience = 2 * GRACE if mine[0] == "failed" else LIMIT
        self.deadline = max(self.deadline, time.monotonic() + patience)
        until, found = time.monotonic() + patience, {}
        for other in self.others:
            while not self._file(other).exists():
                if time.monotonic() > until:
                    self.end(f"{mine[0]} on rank {self.rank}; rank {other} hangs\n{mine[1]}")
                time.sleep(0.002)
            where, *outcome = pickle.loads(self._file(other).read_bytes())
            if where != self.where:
                self.end(f"rank {other} runs {where} instead: the ranks collected different tests")
            found[other] = tuple(outcome)
        self.number += 1
        self.deadline = float("inf")
        return found

    def end(self, why: str) -> None:
        """Ends this process, and with it the session, with the test's name and every thread's stack."""
        if capture := self.config.pluginmanager.getplugin("capturemanager"):
            capture.suspend_global_capture(in_=True)
        print(f"\nFAILED {self.where}: {why}", file=sys.__stderr__, flush=True)
        faulthandler.dump_traceback(sys.__stderr__)
        os._exit(1)

    def _file(self, rank: int) -> Path:
        return self.folder / f"{self.number:06d}.{rank}"

    def _failed_elsewhere(self) -> bool:
        """Says whether another rank has failed in what this one is still doing."""
        if self.deadline == float("inf") or self._file(self.rank).exists():
            return False
        files = [self._file(other) for other in self.others]
        return any(
            pickle.loads(file.read_bytes())[1] == "failed" for file in files if file.exists()
        )

    def _watch(self) -> None:
        """Ends the session where this rank hangs: too long, or after another has failed."""
        behind = 0.0  # seconds since another failed
        while True:
            time.sleep(0.5)
            behind = behind + 0.5 if self._failed_elsewhere() else 0.0
            if behind > GRACE:
                self.end(f"rank {self.rank} hangs in it; it failed on another rank")
            if time.monotonic() > self.deadline:
                self.end(f"rank {self.rank} has not finished it after {LIMIT:g} s")


_exchange: Exchange | None = None
_exchanged = False  # whether all tests have run in step


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks what is here; skips it where there are no ranks."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.ranks(RANKS))
            if not launched():
                item.add_marker(pytest.mark.skip(reason="runs on two ranks: use tests/run.sh"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """What fails on one rank fails on all, with the reason of the rank that failed."""
    report = yield
    if _exchange is None:
        return report
    mine = (report.outcome, report.longreprtext + "\n".join(text for _, text in report.sections))
    _exchange.where = f"{item.nodeid} ({report.when})"
    for rank, (outcome, text) in _exchange.outcomes(mine).items():
        if outcome != report.outcome:
            if outcome == "failed":
                report.outcome, report.longrepr = "failed", f"on rank {rank}: {text}"
            item.session.shouldstop = (
                f"{item.nodeid} {outcome} on rank {rank}, {mine[0]} on rank {_exchange.rank}"
            )
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """The clock of each phase starts."""
    if _exchange is not None:
        _exchange.begin(f"{item.nodeid} (setup)")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item):
    """The clock of each phase starts."""
    if _exchange is not None:
        _exchange.begin(f"{item.nodeid} (call)")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item):
    """The clock of each phase starts."""
    if _exchange is not None:
        _exchange.begin(f"{item.nodeid} (teardown)")


def pytest_sessionfinish(session):
    """Rank 0 reports for all: the launcher would end it in the midst of that if another rank said it had failed."""
    if _exchange is None and _exchanged and os.environ.get("HOROVOD_RANK") != "0":
        session.exitstatus = 0


@pytest.fixture(scope="session", autouse=True)
def session_of_ranks(request):
    """Starts Horovod, with a process set for each rank alone in which it can do what one process would do."""
    global _exchange, _exchanged
    import horovod.tensorflow.keras as hvd

    import tflbt
    from tests.ranks import twins
    from tflbt.distributed import comm

    # As tflbt.init does where it starts Horovod.
    os.environ["HOROVOD_DISABLE_GROUP_FUSION"] = "1"
    hvd.init(process_sets=twins.SETS)
    tflbt.init()
    assert tflbt.size() == RANKS
    with tempfile.TemporaryDirectory(prefix="tflbt-ranks-") as folder:
        folder = comm.broadcast_object(folder, "tests.exchange")
        _exchange = Exchange(Path(folder), tflbt.rank(), RANKS, request.config)
        yield
        _exchange.outcomes(("passed", ""))
        _exchange, last, _exchanged = None, _exchange, True
        last.deadline = float("inf")
        comm.gather_objects(None, "tests.end")  # nobody removes the folder that another still reads


@pytest.fixture(autouse=True)
def fresh(session_of_ranks):
    """Every test begins with the same names, seeds and policy on both ranks."""
    import tensorflow as tf

    tf.keras.backend.clear_session()
    tf.keras.mixed_precision.set_global_policy("float32")
    tf.keras.utils.set_random_seed(0)


@pytest.fixture
def rank() -> int:
    """This process's number."""
    import tflbt

    return tflbt.rank()


@pytest.fixture
def shared_folder(tmp_path, monkeypatch) -> Path:
    """A folder that is the same for both ranks, and their working directory."""
    from tflbt.distributed import comm

    folder = Path(comm.broadcast_object(str(tmp_path), "tests.folder"))
    monkeypatch.chdir(folder)
    return folder
