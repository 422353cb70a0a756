"""mpi/install.sh --gpu for real: no CUDA toolkit, no GPU, and two ranks that train on processors with the result.

It brings 5 GiB of packages and builds Horovod, unless its wheel is in the cache: minutes, so only by -m slow.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, rank_environment


@pytest.fixture(scope="module", params=["2.15", "2.18"])
def tools(request, tmp_path_factory) -> Path:
    """The programs of an environment that install.sh has made in a copy of the project."""
    if request.param == "2.15" and sys.version_info >= (3, 12):
        pytest.skip("TensorFlow 2.15 is for Python up to 3.11")
    root = tmp_path_factory.mktemp("gpu") / "project"
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(".git", ".venv", "runs", "build"))
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    options = ["--gpu", "--tensorflow", request.param, "--python", sys.executable]
    subprocess.run(["bash", root / "mpi/install.sh", *options], env=environment, check=True)
    return root / ".venv" / "bin"


@pytest.mark.slow
def test_horovod_has_nccl_and_two_ranks_train_on_processors(tools: Path) -> None:
    environment = rank_environment(CUDA_VISIBLE_DEVICES="")
    environment["PATH"] = f"{tools}{os.pathsep}{os.environ['PATH']}"
    environment.pop("OPAL_PREFIX", None)  # of the environment in which the tests run

    def output(*words: str) -> str:
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    built = output(str(tools / "horovodrun"), "--check-build")
    assert all(f"[X] {part}" in built for part in ("TensorFlow", "NCCL", "MPI", "Gloo"))
    (library,) = tools.parent.glob("lib/python*/site-packages/horovod/tensorflow/mpi_lib*.so")
    paths = re.findall(r"RUNPATH.*\[(.*)\]", output("readelf", "-d", str(library)))[0].split(":")
    assert all(path.startswith("$ORIGIN/") for path in paths)
    program = [str(tools / "python"), str(Path(__file__).with_name("two_ranks.py"))]
    results = [output(*program)]
    for controller in ("--gloo", "--mpi"):
        results.append(output(str(tools / "horovodrun"), "-np", "2", controller, *program))
    seen = [re.search(r"ranks=(\d) nccl=(\d+) weights=([\d.]+)", text) for text in results]
    assert [match[1] for match in seen] == ["1", "2", "2"]
    assert all(int(match[2]) > 20000 for match in seen)
    assert len({match[3] for match in seen}) == 1
