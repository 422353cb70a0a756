"""Fixtures that every test may use: `run_ranks` starts real ranks of Horovod, `run_command` a command of Python."""

from __future__ import annotations

import functools
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tflbt.distributed.launcher import launched

ROOT = Path(__file__).resolve().parent.parent
RANKS = ROOT / "tests" / "ranks"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """On ranks only the tests of ranks are collected."""
    if not launched() or collection_path in (RANKS, *RANKS.parents):
        return None
    return True if RANKS not in collection_path.parents else None


# tests/run.sh --quick: of each file, in its order, the first case of each test, until the file has used this much.
QUICK_SECONDS = 0.3  # of processor time
_used: dict[Path, float] = {}  # by each file
# Left out: what starts processes that import TensorFlow, what measures, and what takes seconds by itself.
NOT_QUICK = (
    "tests/benchmarks/",
    "tests/callbacks/test_adaptive_batch_size.py::test_batch_and_learning_rate_grow_together",
    "tests/callbacks/test_contract.py::test_interrupted",
    "tests/callbacks/test_curvature_probe.py::test_a_function_is_called_once",
    "tests/callbacks/test_run_log.py::test_instances_and_discarded_samples",
    "tests/curvature/test_estimate.py::test_against_the_dense_hessian",
    "tests/data/test_iterator_ends.py::test_a_program",
    "tests/distributed/test_comm.py::test_one_process_needs_no_horovod",
    "tests/distributed/test_watchdog.py",
    "tests/doctor/test_doctor.py",
    "tests/gpu/",
    "tests/hparams/test_imagenet.py",
    "tests/launch/test_containers.py",
    "tests/launch/test_demo.py",
    "tests/launch/test_gpu_check.py",
    "tests/mpi/",
    "tests/optimizers/test_addons.py",
    "tests/optimizers/test_saved_in_a_new_process.py",
    "tests/recipes/test_optimizer.py::test_addons_lamb",
    "tests/schedules/test_curve_schedule.py::test_a_saved_model",
    "tests/test_readme.py",
    "tests/test_train_errors.py::test_help",
    "tests/test_train_errors.py::test_wrong_flags",
    "tests/test_tune.py",
    "tests/training/test_checkpoint_kills.py",
    "tests/training/test_update.py::test_xla_compiles",
    "tests/tuning/test_hypermodel.py",
    "tests/tuning/test_left_graphs.py",
    "tests/tuning/test_trial_server.py::test_two_processes",
    "tflbt/tuning/__init__.py",
    "tflbt/tuning/hypermodel",
)


# They wait more than they compute: begun first, so that none is left alone at the end.
FIRST = (
    "tests/hosts/",
    "tests/elastic/",
    "tests/launch/",
    "tests/test_train.py",
    "tests/test_tune.py",
    "tests/training/test_lost_rank.py",
    "tests/tuning/test_groups.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects, on ranks, the tests of one process that the command line names, and what is not quick."""
    wanted = sorted(items, key=lambda item: not item.nodeid.startswith(FIRST))
    if launched():
        wanted = [item for item in items if RANKS in item.path.parents]
    if os.environ.get("TFLBT_QUICK_TESTS"):
        first = {item.nodeid.partition("[")[0]: item for item in reversed(wanted)}
        wanted = [
            item
            for name, item in reversed(first.items())
            if not name.startswith(NOT_QUICK) and item.get_closest_marker("ranks") is None
        ]
    chosen = set(wanted)
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = wanted


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Where all should be quick, skips the rest of a file that has used its time."""
    if not os.environ.get("TFLBT_QUICK_TESTS"):
        return (yield)
    used = _used.get(item.path, 0.0)
    if used >= QUICK_SECONDS:
        item.add_marker(pytest.mark.skip(reason=f"its file has used {QUICK_SECONDS} s"))
    begin = time.process_time()
    result = yield
    _used[item.path] = used + time.process_time() - begin
    return result


def pytest_collection_finish() -> None:
    """The garbage collector need not look at TensorFlow's own objects again and again, nor so often at tests'."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """To have found no test of ranks is fine, and no reason for the launcher to call it a failed job."""
    if launched() and session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = 0


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Rank 0 reports for all; see tests/ranks/conftest.py."""
    config.addinivalue_line(
        "markers", "hosts: makes two hosts of this machine; skipped without root or iproute2"
    )
    if launched() and os.environ.get("HOROVOD_RANK") != "0":
        config.pluginmanager.unregister(name="terminalreporter")


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """A file that cannot be collected is told by the other ranks too."""
    if report.failed and launched():
        print(report.longreprtext, file=sys.__stderr__)


def rank_environment(**more: str) -> dict[str, str]:
    """The environment in which ranks run: this interpreter's tools first, this checkout importable."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    root = (
        {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        if os.geteuid() == 0
        else {}
    )
    return {
        **os.environ,
        **root,
        "PATH": path,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "PYTHONUNBUFFERED": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        **more,
    }


@functools.cache
def _server() -> subprocess.Popen[str]:
    """The process of which commands are forks; it ends with this one, which closes its input."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "forked_commands.py")],
        env=rank_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def _run_fork(command: dict[str, object], timeout: float) -> int:
    """Runs a command for tests/forked_commands.py; returns its status."""
    server = _server()
    print(json.dumps({**command, "seconds": round(timeout)}), file=server.stdin, flush=True)
    begin, status = time.monotonic(), int(server.stdout.readline())
    if status == -signal.SIGKILL and time.monotonic() - begin >= timeout - 1:
        raise subprocess.TimeoutExpired(str(command["words"]), timeout)
    return status


def start_ranks(
    program: Path,
    folder: Path,
    n: int = 2,
    *,
    controller: str = "gloo",
    timeout: float = 300,
    args: Sequence[str] = (),
    env: dict[str, str] | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Runs a program on `n` real Horovod ranks in a folder and returns its output and exit status."""
    launcher = [str(ROOT / "tests" / "horovodrun.py"), "-np", str(n), f"--{controller}"]
    words = [*launcher, sys.executable, str(program), *args]
    with tempfile.NamedTemporaryFile("r") as output:
        command = dict(words=words, folder=str(folder), env=env or {})
        status = _run_fork({**command, "out": output.name, "err": output.name}, timeout)
        done = subprocess.CompletedProcess(words, status, output.read())
    if check:
        assert done.returncode == 0, done.stdout[-6000:]
    return done


@pytest.fixture
def quick_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts tests/horovodrun.py, which need not import TensorFlow, in the place of `horovodrun`."""
    places = (ROOT / "tests" / "bin", Path(sys.executable).parent, os.environ["PATH"])
    monkeypatch.setenv("PATH", os.pathsep.join(map(str, places)))


@pytest.fixture
def run_ranks(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`start_ranks` in the test's folder; a program may also be text."""

    def run(script: str | Path, n: int = 2, **options) -> subprocess.CompletedProcess[str]:
        if isinstance(script, str):
            path = tmp_path / "ranks.py"
            path.write_text(textwrap.dedent(script))
            script = path
        return start_ranks(script, tmp_path, n, **options)

    return run


@pytest.fixture(scope="session")
def run_command(tmp_path_factory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `python WORDS` in a folder and a process of its own, forked from one that has imported TensorFlow."""

    def run(words: Sequence[str], folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
        files = [tmp_path_factory.mktemp("command") / name for name in ("out", "err")]
        out, err = map(str, files)
        command = dict(words=list(words), folder=str(folder), env=env, out=out, err=err)
        status = _run_fork(command, timeout=300)
        return subprocess.CompletedProcess(words, status, *(file.read_text() for file in files))

    return run


@pytest.fixture(autouse=True, scope="session")
def iterators_end_at_once() -> Iterator[None]:
    """Switches off tf.data's tuner, which has nothing to tune in tests.

    In TensorFlow 2.15 the end of an iterator waits for its tuner's thread, at times for tens of seconds.
    """
    import tensorflow as tf

    begin = tf.data.Dataset.__iter__

    def iterate(dataset: tf.data.Dataset) -> Iterator[object]:
        options = tf.data.Options()
        options.autotune.enabled = False
        return begin(dataset.with_options(options))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.data.Dataset, "__iter__", iterate)
        yield


# As users' programs do, like all processes that tests start.
OPTIMIZED = (
    "tests/benchmarks/",
    "tests/ranks/test_documents.py",
    "tests/ranks/test_early_sums.py",
    "tests/ranks/test_equal.py",
    "tests/ranks/test_optimizers.py",
    "tests/ranks/test_recipe.py",
    "tests/ranks/test_rules.py",
    "tests/ranks/test_train.py",
    "tests/recipes/test_optimizer.py",
    "tests/training/conversion/test_saving.py",
    "tests/training/test_contract.py",
)


@pytest.fixture(autouse=True, scope="module")
def graphs_run_as_they_are_traced(request: pytest.FixtureRequest) -> Iterator[None]:
    """Switches off what takes two fifths of these short tests' time, and changes no result.

    That is TensorFlow's optimizer of graphs, which pays in longer runs, and its notes of where each operation was made,
    which only its error messages have.
    """
    import tensorflow as tf
    from tensorflow.python.util import tf_stack

    somewhere = tf_stack.extract_stack()
    optimizer = "disable_meta_optimizer"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf_stack, "extract_stack", lambda stacklevel=1: somewhere)
        if not request.node.nodeid.startswith(OPTIMIZED):
            tf.config.optimizer.set_experimental_options({optimizer: True})
        yield
        tf.config.optimizer.set_experimental_options({optimizer: False})


@pytest.fixture(autouse=True)
def process_as_it_was() -> Iterator[None]:
    """Undoes what a recipe's training sets for the whole process: determinism, random generators, precision."""
    yield
    if "tensorflow" in sys.modules:
        import tensorflow as tf
        from tensorflow.python.framework import config

        config.disable_op_determinism()
        tf.keras.backend.experimental.disable_tf_random_generator()
        tf.keras.mixed_precision.set_global_policy("float32")


@pytest.fixture
def generators(process_as_it_was: None) -> None:
    """Keras's generator-based randomness for one test, as `tflbt.train` switches it on."""
    import tensorflow as tf

    tf.keras.backend.experimental.enable_tf_random_generator()
