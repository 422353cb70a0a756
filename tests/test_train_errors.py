"""`python -m tflbt.train`: what cannot be is told in one line, before anything is written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import rank_environment
from tflbt import command_line, recipes, train

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "tests" / "small_digits.py"


CASES = [
    ({"batch_size": 1000, "sub_batch_size": 64}, {}, "batch_size=1000", "use 960 or 1024"),
    ({"epochs": 0}, {}, "config.epochs=0"),
    ({"seed": -1}, {}, "config.seed=-1"),
    ({"checkpoint.every": 0}, {}, "config.checkpoint.every=0"),
    ({"stall_limit": -1.0}, {}, "stall_limit=-1.0"),
    ({"precision": "float8"}, {}, "config.precision='float8'", "mixed_bfloat16"),
    ({"schedule.name": "sine"}, {}, "config.schedule.name='sine'", "two_phase"),
    ({"schedule.name": "step", "schedule.epochs": ("a",)}, {}, "config.schedule.epochs=('a',)"),
    ({"schedule.beta": 2.0}, {}, "config.schedule.beta=2.0"),
    ({"schedule.patience": 0}, {}, "config.schedule.patience=0"),
    ({"schedule.method": "nonsense"}, {}, "config.schedule.method='nonsense'"),
    ({"schedule.iterations": 0}, {}, "config.schedule.iterations=0"),
    ({"optimizer.learning_rate": -1.0}, {}, "config.optimizer.learning_rate=-1.0"),
    ({"model.name": "resnet"}, {}, "config.model.name='resnet'", "cifar_resnet"),
    ({"model.depth": 5}, {}, "config.model.depth=5", "must be 2n + 2"),
    ({"optimizer.name": "Lars"}, {}, "config.optimizer.name='Lars'", "LARS"),
    ({"optimizer.name": "Adam"}, {}, "is no key of Adam", "beta_1"),
    ({"data.name": "svhm"}, {}, "'svhm'", "cifar10"),
    ({"data.standardize": "none"}, {}, "config.data.standardize='none'", "per_pixel"),
    ({"data.name": "mnist"}, {}, "mnist", "data_dir"),
    ({"data.name": "mnist"}, {"data_dir": "absent"}, "absent"),
    ({"data.name": "cifar10"}, {"data_dir": "file"}, "file"),
    ({}, {"resume": True}, "run", "no run to open", "without --resume"),
    ({}, {"workdir": ""}, "path='' is empty: name a directory"),
    ({}, {"workdir": "file"}, "the run directory is a file", "file"),
    ({}, {"workdir": "file/run"}, "file/run"),
    ({}, {"workdir": "/proc/run"}, "/proc/run", "cannot make the run directory"),
]


@pytest.mark.parametrize(("flags", "options", "says"), [(f, o, says) for f, o, *says in CASES])
def test_what_cannot_be_is_refused_before_anything_is_written(
    flags, options, says, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    config = recipes.load(str(RECIPE))
    config.update_from_flattened_dict(flags)
    with pytest.raises(command_line.EXPECTED) as error:
        train.train(config, **{"workdir": "run", **options})
    line = command_line.one_line(error.value)
    assert line and all(part in line for part in says), line
    assert "\n" not in line and not line.startswith("[Errno")
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--config=R:lars", "--workdir=W", "--wokdir=V"], "flag 'wokdir'. Did you mean: workdir"),
        (["--config=R:lars", "--workdir=W", "--config.epoch=1"], "config.epoch is no key of this recipe"),
        (["--config=R:lars", "--workdir=W", "--config.epochs=abc"], "--config.epochs=abc"),
        (["--config=R:lars", "--workdir=W", "--config.sub_batch_size=1.5"], "config.sub_batch_size=1.5"),
        (["--config=R:lamb", "--workdir=W"], "no variant 'lamb': use one of small_batch"),
        (["--config=absent.py:lars", "--workdir=W"], "the recipe cannot be read: 'absent.py'"),
        (["--config=R:lars", "--workdir="], "--workdir=: it is empty: name a directory"),
        (["--config=R:lars"], "--workdir must have a value"),
        (["--workdir=W"], "--config must have a value"),
        (["--config", "R:lars", "--workdir", "W", "more"], "unexpected argument 'more'"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_wrong_flags_are_told_in_one_line(flags, says, tmp_path, run_command):
    words = [word.replace("R:", f"{ROOT}/hparams/digits_resnet.py:") for word in flags]
    done = run_command(["-m", "tflbt.train", *words], tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("tflbt.train: error: ") and says in line
    assert list(tmp_path.iterdir()) == [] and done.stdout == ""


@pytest.mark.parametrize(
    ("recipe", "status", "says"),
    [
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(999,)).start()\n1 / 0",
            1, "mine.py, line 3: ZeroDivisionError",
        ),
        ("import sys\nsys.stderr.close()\nraise ValueError('wrong')", 1, "mine.py, line 3: wrong"),
        ("raise KeyboardInterrupt", -2, "interrupted"),
        (
            "import tflbt.recipes.build as b\nb.check = None\nfrom tests.small_digits import get_config",
            1, "TypeError: 'NoneType' object is not callable (tflbt/recipes/build.py, line",
        ),
    ],
    ids=["thread", "closed", "interrupted", "defect"],
)  # fmt: skip
def test_a_command_ends_in_one_line_whatever_its_recipe_does(
    recipe, status, says, tmp_path, run_command
):
    (tmp_path / "mine.py").write_text(recipe)
    done = run_command(["-m", "tflbt.train", "--config=mine.py", "--workdir=run"], tmp_path)
    assert done.returncode == status
    (line,) = done.stderr.splitlines()
    assert line.startswith("tflbt.train: ") and says in line


def test_help_tells_how_to_start_and_every_flag(tmp_path):
    """In a process that imports all itself, in silence."""
    done = subprocess.run(
        [sys.executable, "-m", "tflbt.train", f"--config={RECIPE}", "--help"],
        cwd=tmp_path, env=rank_environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == ""
    for word in ("horovodrun -np 2", "--config=hparams/", "--workdir", "--resume", "--data_dir"):
        assert word in done.stdout
