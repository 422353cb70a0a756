"""Every kernel of the Horovod build on a device, against NumPy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import rank_environment

PROGRAM = Path(__file__).with_name("reductions.py")


def test_sums_of_one_rank_equal_numpy_in_every_type(device):
    environment = rank_environment(HOROVOD_BATCH_D2D_MEMCOPIES="1")
    done = subprocess.run(
        [sys.executable, PROGRAM, device], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "equal", done.stdout[-3000:]
