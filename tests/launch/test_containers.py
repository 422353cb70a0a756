"""launch/Dockerfile and launch/tflbt.def: they install both lanes by mpi/install.sh, with options that it knows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = ("launch/Dockerfile", "launch/tflbt.def")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(("lane", "device"), [("2.15", "cpu"), ("2.18", "gpu")])
def test_the_installer_takes_their_words(name: str, lane: str, device: str) -> None:
    if lane == "2.15" and sys.version_info >= (3, 12):
        pytest.skip("TensorFlow 2.15 is for Python up to 3.11")
    text = (ROOT / name).read_text()
    assert lane in text
    (words,) = re.findall(r"^[^#\n]*mpi/install\.sh (.*?)(?: \\)?$", text, flags=re.M)
    values = {"TENSORFLOW": lane, "DEVICE": device}
    words = re.sub(r"\{\{ (\w+) \}\}|\$(\w+)", lambda m: values[(m[1] or m[2]).upper()], words)
    command = ["bash", ROOT / "mpi" / "install.sh", *words.replace('"', "").split()]
    environment = {**os.environ, "VIRTUAL_ENV": sys.prefix}
    folder = subprocess.check_output([*command, "--where"], env=environment, text=True).strip()
    assert f"/{lane}.1-cp" in folder and folder.endswith(f"-{device}")


def test_what_docker_copies_leaves_the_environment_behind() -> None:
    assert {".venv", ".git"} <= set((ROOT / ".dockerignore").read_text().split())
