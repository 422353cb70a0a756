"""The README's own script runs as it stands there, in one process and on two real ranks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).resolve().parent.parent / "README.md"


def train_py() -> str:
    """The block that the README calls train.py."""
    (block,) = re.findall(r"<!-- train\.py -->\n```python\n(.*?)```", README.read_text(), re.DOTALL)
    return block


def accuracy(output: str) -> float:
    """The accuracy the script prints, once."""
    (found,) = re.findall(
        r"held-out accuracy (\d\.\d+), \d+ decays, (?:exploration|convergence) phase", output
    )
    return float(found)


def test_script_is_short_enough_to_read() -> None:
    """About 25 lines, as promised; the count leaves out blank ones."""
    assert sum(bool(line.strip()) for line in train_py().splitlines()) <= 28


def test_script_runs_in_one_process(tmp_path: Path) -> None:
    """No launcher, no Horovod needed."""
    script = tmp_path / "train.py"
    script.write_text(train_py())
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=180, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert accuracy(done.stdout) > 0.9


@pytest.mark.ranks(2)
def test_script_runs_on_two_ranks(run_ranks) -> None:
    """The same file under horovodrun; only the chief prints."""
    assert accuracy(run_ranks(train_py()).stdout) > 0.9


@pytest.mark.ranks(2)
def test_the_command_that_trains_a_recipe_runs(tmp_path: Path) -> None:
    """The line of the second block, into another folder and for two epochs."""
    (line,) = re.findall(r"^launch/local\.sh 2 --config=.*$", README.read_text(), re.MULTILINE)
    line = line.replace("--workdir=runs/first", f"--workdir={tmp_path / 'run'} --config.epochs=2")
    done = subprocess.run(
        ["bash", "-c", line], cwd=README.parent, text=True, timeout=180,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert (tmp_path / "run" / "report.html").exists()
    assert (tmp_path / "run" / "checkpoints" / "epoch_00002").is_dir()


def test_every_file_the_readme_names_exists() -> None:
    """Paths in backticks and links lead somewhere."""
    named = set(
        re.findall(
            r"(?:`|\()((?:tflbt|hparams|mpi|launch|tests)/[\w/.]*|CHANGELOG\.md)(?:`|\)| )",
            README.read_text(),
        )
    )
    missing = {path for path in named if not (README.parent / path).exists()}
    assert not missing
