"""Two hosts (network namespaces): ranks on both train as on one, end when the cable is taken out, and go on later."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.conftest import ROOT, rank_environment

TWO_HOSTS = ROOT / "tests" / "two_hosts.sh"
PROGRAM = ROOT / "tests" / "hosts" / "three_epochs.py"
JOINS = PROGRAM.with_name("joins.py")
NAME = f"tflbt-{os.getpid()}"
ADDRESSES = ("10.9.0.1", "10.9.0.2")

pytestmark = [
    pytest.mark.hosts,
    pytest.mark.ranks(2),
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("ip") is None, reason="needs root and iproute2"
    ),
]


def two_hosts(*words: str) -> list[str]:
    return ["env", f"TWO_HOSTS={NAME}", str(TWO_HOSTS), *words]


@pytest.fixture(scope="module")
def cable() -> Iterator[None]:
    """The two hosts."""
    if subprocess.run(two_hosts("up"), capture_output=True, check=False).returncode:
        subprocess.run(two_hosts("down"), capture_output=True, check=False)
        pytest.skip("this machine makes no network namespaces")
    yield
    subprocess.run(two_hosts("down"), check=True)


@pytest.fixture(scope="module")
def on_one_host() -> list[np.ndarray]:
    """The weights that one process gets."""
    from tests.hosts.three_epochs import train

    return train(None)


def start(launcher: str, folder: Path, output: Path) -> subprocess.Popen:
    """Starts the program with a rank on each host, by a hosts file with a comment."""
    (folder / "hosts").write_text("# two\n\n10.9.0.1 slots=1\n10.9.0.2:1  # far\n")
    words = [
        str(ROOT / "launch" / launcher),
        "--hostfile",
        "hosts",
        "-x",
        "MINE=7",
        "python",
        str(PROGRAM),
        ".",
    ]
    said = {
        "TFLBT_STALL_LIMIT": "8",
        "NCCL_DEBUG": "WARN",
        "OMP_NUM_THREADS": "1",
        "HOROVOD_CYCLE_TIME": "2",
    }
    return subprocess.Popen(
        two_hosts("on", "1", *words), cwd=folder, env=rank_environment(**said), stdin=subprocess.DEVNULL,
        stdout=output.open("w"), stderr=subprocess.STDOUT,
    )  # fmt: skip


def test_a_rank_joins_from_the_other_host(cable, tmp_path):
    """One job that goes on: the second host's process waits for its place, and joins over the cable."""
    (tmp_path / "hosts").write_text("10.9.0.1 slots=1\n10.9.0.2 slots=1  # far\n")
    launcher = [str(ROOT / "launch" / "elastic.sh"), "--max-ranks", "2", "--standby", "0"]
    files = ["--hosts", "hosts", "--log", "log"]
    words = two_hosts("on", "1", *launcher, *files, "--", "python", str(JOINS), ".")
    job = subprocess.run(
        words, cwd=tmp_path, env=rank_environment(OMP_NUM_THREADS="1"), stdin=subprocess.DEVNULL, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300, check=False,
    )  # fmt: skip
    assert job.returncode == 0, job.stdout
    alone, both = f"0 {NAME}-1\n", [f"0 {NAME}-1", f"1 {NAME}-2"]
    assert [(tmp_path / f"epoch-{epoch}").read_text() for epoch in range(3)] == [alone] * 3
    for epoch in (3, 4):
        assert sorted((tmp_path / f"epoch-{epoch}").read_text().splitlines()) == both

    from tests.hosts import joins

    model = joins.growing.compiled()
    grow = joins.growing.callbacks(tmp_path)[0]
    model.fit(joins.growing.X, joins.growing.Y, callbacks=[grow], **joins.ARGUMENTS)
    with np.load(tmp_path / "end.npz") as end:
        for alone, several in zip(model.get_weights(), end.values()):
            np.testing.assert_allclose(several, alone, atol=2e-6)


@pytest.mark.parametrize(
    ("first", "second"), [("mpirun.sh", "horovodrun.sh"), ("horovodrun.sh", "mpirun.sh")]
)
def test_the_cable_is_taken_out_and_put_back(first, second, cable, on_one_host, tmp_path):
    """Started by one launcher and resumed by the other, which shows that both train as one host does."""
    output = tmp_path / "output.txt"
    job = start(first, tmp_path, output)
    while not all((tmp_path / f"now-{rank}").exists() for rank in (0, 1)):
        assert job.poll() is None, output.read_text()
        time.sleep(0.1)
    subprocess.run(two_hosts("cut"), check=True)
    (tmp_path / "cut").touch()
    status = job.wait(timeout=200)  # ranks that did not notice would wait for ever
    subprocess.run(two_hosts("mend"), check=True)
    told = output.read_text()
    assert status != 0, told
    lines = re.findall(r"tflbt: (rank \d on \S+ \(\S+\)) does not answer", told)
    expected = [f"rank {rank} on {NAME}-{rank + 1} ({ADDRESSES[rank]})" for rank in (0, 1)]
    if first == "mpirun.sh":  # what rank 1 says cannot come through its daemon
        del expected[0]
    assert sorted(lines) == expected, told
    assert "Traceback" not in told
    left = [each for each in psutil.process_iter(["cwd"]) if each.info["cwd"] == str(tmp_path)]
    assert not psutil.wait_procs(left, timeout=60)[1]

    assert start(second, tmp_path, output).wait(timeout=300) == 0, output.read_text()
    for rank in (0, 1):
        seen = json.loads((tmp_path / f"rank-{rank}.json").read_text())
        assert seen["host"] == f"{NAME}-{rank + 1}"
        variables = {
            name: seen["variables"].get(name)
            for name in ("MINE", "NCCL_DEBUG", "HOROVOD_CYCLE_TIME")
        }
        assert variables == {"MINE": "7", "NCCL_DEBUG": "WARN", "HOROVOD_CYCLE_TIME": "2"}
        assert seen["variables"].get("HOROVOD_GLOO_IFACE", "cable") == "cable"
    with np.load(tmp_path / "end.npz") as end:
        for one, several in zip(on_one_host, end.values()):
            np.testing.assert_allclose(several, one, atol=1e-6)
