"""`python -m tflbt.train`: killed at any moment and resumed it equals an uninterrupted run; each error is one line."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

ROOT = Path(__file__).resolve().parents[1]

# hparams/digits_resnet.py with a network that is traced in a moment.
RECIPE = f"""
from tflbt import recipe

def get_config(variant="two_phase_lars"):
    config = recipe.load("{ROOT}/hparams/digits_resnet.py:" + variant)
    with config.unlocked():
        config.model.depth, config.model.widths = 4, (32,)
        config.sub_batch_size = None
    return config
"""
# So large a rate, and so short a patience, that the phase switches and the rate decays within six epochs.
SCHEDULE = (
    "--config.epochs=6",
    "--config.sub_batch_size=64",
    "--config.schedule.patience=1",
    "--config.schedule.min_delta=10.",
    "--config.schedule.extra_fraction=0.",
    "--config.warmup.epochs=1.5",
    "--config.optimizer.learning_rate=12.",
)
# Runs the command with one thing done to it, told by the first argument: HOW:EPOCH.
COMMAND = '''
import os, random, resource, runpy, signal, sys, threading, time
from pathlib import Path

how, epoch = sys.argv[1].split(":")
epoch, rank = int(epoch), int(os.environ["HOROVOD_RANK"])
sys.argv = ["tflbt.train", *sys.argv[2:]]
(workdir,) = (Path(word[10:]) for word in sys.argv if word.startswith("--workdir="))

def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

def ancestors(pid):
    while pid > 1:
        yield pid
        pid = parent(pid)

def launcher():
    return next(p for p in ancestors(os.getpid()) if b"horovodrun" in Path(f"/proc/{p}/cmdline").read_bytes())

def whole_job():
    """The launcher and all below it, this process last."""
    top, found = launcher(), []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if top in ancestors(int(entry.name)):
                found.append(int(entry.name))
        except OSError:
            pass
    return sorted(found, key=os.getpid().__eq__)

def after_rows(act):
    """Acts at a random moment after the epoch, most often in the midst of the next."""
    def wait():
        table, start = workdir / "metrics.csv", time.time()  # what is there already is of an earlier start
        rows = lambda: len(table.read_text().splitlines()) - 1
        while not (table.exists() and table.stat().st_mtime > start and rows() >= epoch):
            time.sleep(0.001)
        time.sleep(random.uniform(0, 0.2))
        act()
    threading.Thread(target=wait, daemon=True).start()

def kill(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass

def at_epoch_begin(act):
    from tflbt.callbacks import NonFiniteLoss
    real = NonFiniteLoss.on_epoch_begin
    def begin(self, number, logs=None):
        real(self, number, logs)
        if number == epoch:
            act(self.model)
    NonFiniteLoss.on_epoch_begin = begin

if how == "kill_job" and rank == 0:
    after_rows(lambda: kill(whole_job(), signal.SIGKILL))
if how == "terminate_launcher" and rank == 0:
    after_rows(lambda: kill([launcher()], signal.SIGTERM))
if how == "terminate_rank_1" and rank == 1:
    after_rows(lambda: kill([os.getpid()], signal.SIGTERM))
if how == "kill_while_writing" and rank == 0:
    from tflbt.training import checkpoint
    real_flush = checkpoint._flush
    def flush(path):
        if f".writing_epoch_{epoch:05d}" in str(path):
            kill([os.getpid()], signal.SIGKILL)
        real_flush(path)
    checkpoint._flush = flush
if how == "diverge":
    at_epoch_begin(lambda model: setattr(model.optimizer, "learning_rate", 1e38))
if how == "fill_disk":  # no file may grow beyond this; metrics.csv is far from it, a checkpoint is not
    limit = (64_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    at_epoch_begin(lambda model: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
if how == "fail_on_rank_1":
    from tflbt import command_line
    command_line.PATIENCE_SECONDS = 2.0
    if rank == 1:
        sys.argv.append("--config.optimizer.name=Adan")
runpy.run_module("tflbt.train", run_name="__main__", alter_sys=True)
'''


@pytest.fixture
def train(run_ranks, tmp_path):
    """Runs the command on two ranks, doing `how` to it in or after an epoch; returns status and output."""
    (tmp_path / "small.py").write_text(RECIPE)

    def start(run, *flags, how="nothing:0", variant="two_phase_lars", check=True):
        words = (how, f"--config=small.py:{variant}", f"--workdir={run}", *flags)
        return run_ranks(COMMAND, args=words, check=check)

    return start


def rows(run: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv without the columns of time."""
    with (run / "metrics.csv").open() as file:
        return [
            {name: value for name, value in row.items() if not name.startswith("seconds")}
            for row in csv.DictReader(file)
        ]


def variables(checkpoint: Path) -> dict[str, bytes]:
    reader = tf.train.load_checkpoint(str(checkpoint / "variables"))
    names = [name for name in reader.get_variable_to_shape_map() if name.endswith("VARIABLE_VALUE")]
    return {name: reader.get_tensor(name).tobytes() for name in names}


def tree(folder: Path) -> dict[str, str]:
    """Every file of a folder with the hash of its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def checkpoints(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def told(output: str) -> list[str]:
    """The error lines of the command, and what there is of tracebacks by a rank (the launcher has one of its own)."""
    lines = output.splitlines()
    return [
        line
        for line in lines
        if "error: " in line or ("Traceback" in line and line.startswith("["))
    ]


@pytest.mark.ranks(2)
def test_interrupted_and_resumed_equals_uninterrupted(train, tmp_path):
    whole, run = tmp_path / "whole", tmp_path / "run"
    train(whole, *SCHEDULE)
    phases = [(row["phase"], row["decays"]) for row in rows(whole)]
    assert len(phases) == 6 and phases[0][0] == "exploration", phases
    assert int(phases[-1][1]) >= 1, f"no decay to test: {phases}"
    config = json.loads((whole / "config.json").read_text())
    assert config["name"] == "digits_resnet:two_phase_lars" and config["epochs"] == 6
    assert config["sub_batch_size"] == 64 and config["schedule"]["patience"] == 1

    assert train(run, *SCHEDULE, how="kill_job:1", check=False).returncode != 0
    resume = (*SCHEDULE, "--resume")
    assert train(run, *resume, how="kill_while_writing:3", check=False).returncode != 0
    assert checkpoints(run) == [".writing_epoch_00003", "epoch_00001", "epoch_00002"]
    assert train(run, *resume, how="terminate_rank_1:4", check=False).returncode != 0
    newest = run / "checkpoints" / checkpoints(run)[-1]
    damaged = newest / "variables.data-00000-of-00001"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    done = train(run, *resume, how="terminate_launcher:4", check=False)
    assert done.returncode != 0 and f"{newest.name} is damaged" in done.stdout, done.stdout[-3000:]
    train(run, *resume)

    assert rows(run) == rows(whole)
    assert checkpoints(run) == checkpoints(whole) == ["epoch_00005", "epoch_00006"]
    for name in checkpoints(whole):
        ours, theirs = (place / "checkpoints" / name for place in (run, whole))
        assert variables(ours) == variables(theirs) and len(variables(ours)) > 10
        assert json.loads((ours / "state.json").read_text()) == json.loads(
            (theirs / "state.json").read_text()
        )
    assert (run / "report.html").exists()

    before = tree(run)
    for flags, says in (
        (("--resume",), "6 of 6 epochs are done"),
        (
            ("--resume", "--config.seed=3"),
            "error: * cannot resume with another configuration: seed was 0, is now 3.",
        ),
        ((), "error: * holds a run; continue it with --resume"),
    ):
        command = [sys.executable, "-m", "tflbt.train", "--config=small.py", f"--workdir={run}"]
        done = subprocess.run(
            [*command, *SCHEDULE, *flags],
            cwd=tmp_path, env={**environment()}, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert (done.returncode == 0) == (says[:5] != "error"), done.stdout
        assert all(part in done.stdout for part in says.split("*")), done.stdout
        assert "Traceback" not in done.stdout
        assert tree(run) == before


def environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.mark.ranks(2)
def test_a_loss_that_is_no_number_ends_the_job_and_keeps_what_was(train, tmp_path):
    run = tmp_path / "run"
    flags = ("--config.epochs=6", "--config.schedule.name=constant", "--config.warmup.epochs=0.")
    done = train(run, *flags, how="diverge:2", variant="large_batch", check=False)
    assert done.returncode != 0
    (line,) = told(done.stdout)
    assert "tflbt.train: error: The loss is" in line and "in epoch 3 (learning rate 1e+38)" in line
    assert checkpoints(run) == ["epoch_00001", "epoch_00002"]
    assert len(rows(run)) == 2 and (run / "report.html").exists()


@pytest.mark.ranks(2)
def test_a_full_disk_ends_the_job_and_keeps_earlier_checkpoints(train, tmp_path):
    run = tmp_path / "run"
    done = train(run, "--config.epochs=6", how="fill_disk:2", check=False)
    assert done.returncode != 0
    (line,) = (line for line in told(done.stdout) if "report could not" not in line)
    assert "tflbt.train: error: " in line and "cannot write the checkpoint of epoch 3" in line
    assert checkpoints(run) == ["epoch_00001", "epoch_00002"]


@pytest.mark.ranks(2)
def test_a_rank_that_fails_alone_ends_the_job_and_says_why(train, tmp_path):
    run = tmp_path / "run"
    done = train(run, "--config.epochs=6", how="fail_on_rank_1:0", check=False)
    assert done.returncode != 0
    (line,) = told(done.stdout)
    assert "tflbt.train: error: rank 1: config.optimizer.name='Adan' is no optimizer" in line


@pytest.mark.ranks(2)
def test_an_error_of_all_ranks_is_told_once_before_anything_is_written(train, tmp_path):
    run = tmp_path / "run"
    done = train(run, "--config.batch_size=500", "--config.sub_batch_size=64", check=False)
    assert done.returncode != 0
    (line,) = told(done.stdout)
    assert (
        "batch_size=500 is not a multiple of 2 ranks x sub_batch_size=64 (= 128): use 384 or 512."
        in line
    )
    assert not run.exists()


# In one process of its own, for the command sets seeds and determinism for the whole of it.
CASES = """
import pathlib, sys
from tflbt import command_line, recipe, train

def told(flags, workdir="run", **options):
    config = recipe.load("small.py:two_phase_lars")
    config.update_from_flattened_dict(flags)
    try:
        train.train(config, workdir, **options)
    except command_line.EXPECTED as error:
        return command_line.one_line(error)

pathlib.Path("file").write_text("")
for flags, options, *says in (
    ({"batch_size": 1000, "sub_batch_size": 64}, {}, "batch_size=1000", "use 960 or 1024"),
    ({"epochs": 0}, {}, "config.epochs=0"),
    ({"seed": -1}, {}, "config.seed=-1"),
    ({"checkpoint.every": 0}, {}, "config.checkpoint.every=0"),
    ({"stall_limit": -1.0}, {}, "stall_limit=-1.0"),
    ({"precision": "float8"}, {}, "config.precision='float8'", "mixed_bfloat16"),
    ({"schedule.name": "cosine"}, {}, "config.schedule.name='cosine'", "two_phase"),
    ({"schedule.epochs": ("a",)}, {}, "config.schedule.epochs=('a',)"),
    ({"schedule.beta": 2.0}, {}, "beta=2.0"),
    ({"schedule.patience": 0}, {}, "patience=0"),
    ({"model.name": "resnet"}, {}, "'resnet'", "cifar_resnet"),
    ({"model.depth": 5}, {}, "depth must be 2n + 2", "got 5"),
    ({"optimizer.name": "Lars"}, {}, "config.optimizer.name='Lars'", "LARS"),
    ({"optimizer.name": "Adam"}, {}, "is no argument of Adam", "beta_1"),
    ({"data.name": "svhn"}, {}, "'svhn'", "cifar10"),
    ({"data.standardize": "none"}, {}, "'none'", "per_pixel"),
    ({"data.name": "mnist"}, {}, "mnist", "data_dir"),
    ({"data.name": "mnist"}, {"data_dir": "absent"}, "absent"),
    ({"data.name": "cifar10"}, {"data_dir": "file"}, "file"),
    ({}, {"resume": True}, "run", "no run to open", "without --resume"),
    ({}, {"workdir": "file"}, "the run directory is a file", "file"),
    ({}, {"workdir": "file/run"}, "file/run"),
    ({}, {"workdir": "/proc/run"}, "/proc/run", "cannot make the run directory"),
):
    line = told(flags, **options)
    assert line and all(part in line for part in says), (flags, options, says, line)
    assert "\\n" not in line and not line.startswith("[Errno")
    assert not pathlib.Path("run").exists(), flags
"""


def test_what_cannot_be_is_told_before_anything_is_written(tmp_path):
    (tmp_path / "small.py").write_text(RECIPE)
    done = subprocess.run(
        [sys.executable, "-c", CASES],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--config=R:lars", "--workdir=W", "--wokdir=V"], "flag 'wokdir'. Did you mean: workdir"),
        (["--config=R:lars", "--workdir=W", "--config.epoch=1"], "config.epoch is no key of this recipe"),
        (["--config=R:lars", "--workdir=W", "--config.epochs=abc"], "--config.epochs=abc"),
        (["--config=R:lars", "--workdir=W", "--config.sub_batch_size=1.5"], "config.sub_batch_size=1.5"),
        (["--config=R:lamb", "--workdir=W"], "no variant 'lamb': use one of small_batch"),
        (["--config=absent.py:lars", "--workdir=W"], "the recipe cannot be read: 'absent.py'"),
        (["--config=R:lars"], "--workdir must have a value"),
        (["--workdir=W"], "--config must have a value"),
        (["--config", "R:lars", "--workdir", "W", "more"], "unexpected argument 'more'"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_wrong_flags_are_told_in_one_line(flags, says, tmp_path):
    words = [word.replace("R:", f"{ROOT}/hparams/digits_resnet.py:") for word in flags]
    done = subprocess.run(
        [sys.executable, "-m", "tflbt.train", *words],
        cwd=tmp_path, env=environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("tflbt.train: error: ") and says in line
    assert list(tmp_path.iterdir()) == [] and done.stdout == ""


def test_help_tells_how_to_start_and_every_flag(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tflbt.train", "--help"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stderr == ""
    for word in ("horovodrun -np 2", "--config=hparams/", "--workdir", "--resume", "--data_dir"):
        assert word in done.stdout
