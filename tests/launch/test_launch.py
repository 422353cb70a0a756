"""The launchers' dry runs: the command each would become, and what it refuses."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ("local.sh", "mpirun.sh", "slurm.sbatch", "demo.sh")


def launch(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        ["bash", str(ROOT / "launch" / script), *arguments],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def command(script: str, *arguments: str, **environment: str) -> str:
    done = launch(script, *arguments, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("script", SCRIPTS)
def test_help(script: str) -> None:
    told = command(script, "--help")
    assert f"launch/{script}" in told.splitlines()[0]
    assert "set -euo" not in told


def test_local_trains_when_flags_follow() -> None:
    told = command("local.sh", "2", "--dry-run", "--config=a.py:b", "--workdir=a b")
    assert told == ("horovodrun -np 2 --gloo python -m tflbt.train --config=a.py:b --workdir=a\\ b")


def test_local_runs_any_command_over_either_controller() -> None:
    assert command("local.sh", "--mpi", "--dry-run", "3", "python", "own.py", "--mpi") == (
        "horovodrun -np 3 --mpi python own.py --mpi"
    )


@pytest.mark.parametrize(
    ("script", "arguments", "says"),
    [
        ("local.sh", (), "how many ranks?"),
        ("local.sh", ("0", "true"), "not '0'"),
        ("local.sh", ("two", "true"), "not 'two'"),
        ("local.sh", ("2",), "nothing to run"),
        ("mpirun.sh", ("true",), "-np must be"),
        ("mpirun.sh", ("-np", "2"), "nothing to run"),
        ("mpirun.sh", ("-np", "2", "--hostfile", "/nonexistent", "true"), "cannot be read"),
        ("slurm.sbatch", ("--dry-run",), "nothing to run"),
    ],
)
def test_refusals_are_one_line(script: str, arguments: tuple[str, ...], says: str) -> None:
    done = launch(script, *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_mpirun_has_the_recommended_flags() -> None:
    told = command("mpirun.sh", "-np", "4", "--dry-run", "python", "own.py", NCCL_DEBUG="INFO")
    assert told.startswith("mpirun -np 4 -host localhost:4 -bind-to none -map-by slot ")
    assert "-x PATH " in told
    assert "-x NCCL_DEBUG " in told
    assert "-x CUDA_VISIBLE_DEVICES" not in told  # not set, so there is nothing to hand on
    assert told.endswith(" python own.py")


def test_mpirun_takes_hosts_from_a_file_or_the_batch_system() -> None:
    hosts = str(ROOT / "mpi" / "hostfile.example")
    assert f" --hostfile {hosts} " in command(
        "mpirun.sh", "-np", "8", "--hostfile", hosts, "--dry-run", "true"
    )
    assert "-host" not in command("mpirun.sh", "-np", "8", "--dry-run", "true", SLURM_JOB_ID="7")


def test_slurm_takes_the_templates_numbers_or_the_jobs() -> None:
    assert "--nodes=2 --ntasks=8 --ntasks-per-node=4 " in command(
        "slurm.sbatch", "--dry-run", "--config=a.py"
    )
    told = command(
        "slurm.sbatch", "--dry-run", "--config=a.py", SLURM_NNODES="3", SLURM_NTASKS_PER_NODE="5"
    )
    assert told.startswith("srun --mpi=pmix --nodes=3 --ntasks=15 --ntasks-per-node=5 ")
    assert told.endswith(" python -m tflbt.train --config=a.py")


def test_slurm_runs_from_its_spool(tmp_path: Path) -> None:
    copy = tmp_path / "slurm_script"
    copy.write_text((ROOT / "launch" / "slurm.sbatch").read_text())
    run = ["bash", str(copy), "--dry-run", "true"]
    environment = {"PATH": os.environ["PATH"], "SLURM_SUBMIT_DIR": str(ROOT)}
    told = subprocess.run(run, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert told.stdout.startswith("srun "), told.stderr
    environment["SLURM_SUBMIT_DIR"] = str(tmp_path)
    told = subprocess.run(run, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert told.returncode == 2
    assert "from the project's root" in told.stderr


def test_open_mpi_reads_the_settings() -> None:
    shown = command(
        "local.sh", "1", "--dry-run", "true", OMPI_MCA_mca_base_param_files="/mine.conf"
    )
    assert shown == "horovodrun -np 1 --gloo true"
    script = ". launch/environment.sh; use_mpi_settings; echo $OMPI_MCA_mca_base_param_files"
    files = subprocess.check_output(["bash", "-euc", script], cwd=ROOT, text=True)
    assert files.split(",")[0] == str(ROOT / "mpi" / "mca-params.conf")
