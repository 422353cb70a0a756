"""What is written down about the machine, and what is not."""

from __future__ import annotations

import json
import platform
import socket
import subprocess

import numpy as np
import pytest
import tensorflow as tf

from tflbt.runs import environment


@pytest.fixture(scope="module")
def described():
    return environment.describe()


def test_versions_are_those_that_run(described):
    assert described["python"] == platform.python_version()
    assert described["tensorflow"] == tf.__version__
    assert described["numpy"] == np.__version__
    assert described["keras"].startswith("2.")


def test_ranks_and_devices(described):
    assert described["ranks"] == 1
    assert described["cpus"] >= 1
    assert isinstance(described["gpus"], list)


def test_it_is_json_and_leaves_the_host_out(described):
    text = json.dumps({name: value for name, value in described.items() if name != "command"})
    assert socket.gethostname() not in text


def test_no_commit_for_a_package_git_does_not_know(tmp_path):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    assert environment.git_commit(package) is None


def test_commit_and_changes(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    module = package / "__init__.py"
    module.write_text("")

    def git(*arguments):
        who = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "core.hooksPath=/dev/null"]
        command = ["git", *who, "-C", str(tmp_path), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    commit = git("rev-parse", "HEAD")
    assert environment.git_commit(package) == commit
    module.write_text("x = 1\n")
    assert environment.git_commit(package) == commit + "+changes"
