"""The launchers' dry runs: the command each would become, and what it refuses."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ("local.sh", "horovodrun.sh", "mpirun.sh", "slurm.sbatch", "demo.sh", "elastic.sh")
GLOO = "python -m tflbt.distributed.horovodrun"


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
    assert told == f"{GLOO} -np 2 --gloo python -m tflbt.train --config=a.py:b --workdir=a\\ b"


def test_local_runs_any_command_over_either_controller() -> None:
    told = command("local.sh", "--mpi", "--dry-run", "3", "python", "own.py", "--mpi")
    assert told.startswith("mpirun -np 3 -host localhost:3 ")
    assert "btl \\^openib\\,tcp -mca oob_tcp_if_include lo " in told
    assert told.endswith(" python own.py --mpi")


def test_elastic_runs_a_command_or_trains() -> None:
    launcher = "python -m tflbt.elastic.launcher --max-ranks 4 --hosts h --"
    words = ("--dry-run", "--max-ranks", "4", "--hosts", "h", "--")
    assert command("elastic.sh", *words, "python", "a b.py") == f"{launcher} python a\\ b.py"
    assert (
        command("elastic.sh", *words, "--workdir=x")
        == f"{launcher} python -m tflbt.train --workdir=x"
    )


@pytest.mark.parametrize(
    "words",
    ["2", "-np 2", "-n 2", "--np=2", "-c 2", "--num-proc 2", "-H localhost:2", "--host localhost:2"]
    + [
        "--hostfile own",
        "-machinefile own",
        "-np 2 -x SEED=1 -x PATH",
        "--gloo -np 2 --",
        "-np 1 2",
        "--allow-run-as-root --n 2",
    ],
)
def test_either_launchers_words_for_the_same_ranks(words: str, tmp_path: Path) -> None:
    (tmp_path / "own").write_text("# this machine\n\nlocalhost slots=1  # a core\n127.0.0.1:1\n")
    words = words.replace("own", str(tmp_path / "own"))
    ranks = "1" if words == "-np 1 2" else "2"
    rest = "2 " if ranks == "1" else ""
    assert command("local.sh", "--dry-run", *words.split(), "python", "own.py") == (
        f"{GLOO} -np {ranks} --gloo {rest}python own.py"
    )


@pytest.mark.parametrize(
    ("script", "arguments", "says"),
    [
        ("local.sh", (), "how many ranks?"),
        ("local.sh", ("0", "true"), "not '0'"),
        ("local.sh", ("two", "true"), "not 'two'"),
        ("local.sh", ("2",), "nothing to run"),
        ("local.sh", ("-np",), "-np needs a value"),
        (
            "local.sh",
            ("-H", "198.51.100.7:2", "true"),
            "use launch/horovodrun.sh or launch/mpirun.sh",
        ),
        ("local.sh", ("2", "-mca", "btl", "self", "true"), "give --mpi too"),
        (
            "local.sh",
            ("2", "--timeline-filename=x", "true"),
            "tflbt.distributed.horovodrun takes it",
        ),
        ("local.sh", ("-np", "2", "--min-np", "1", "true"), "use launch/elastic.sh"),
        ("elastic.sh", ("--max-ranks", "2"), "a command is missing"),
        ("horovodrun.sh", ("-np", "2", "--bind-to", "none", "true"), "-mca NAME VALUE"),
        ("horovodrun.sh", ("-np", "2", "--mpi", "true"), "use launch/mpirun.sh"),
        ("mpirun.sh", ("-np", "2", "--gloo", "true"), "use launch/horovodrun.sh"),
        ("mpirun.sh", ("-np", "2", "-nice", "true"), "-nice is no option"),
        ("mpirun.sh", ("--display-map", "-np", "2", "true"), "-mca NAME VALUE"),
        ("mpirun.sh", ("-np", "2", "-x", "=5", "true"), "-x needs NAME or NAME=VALUE, not '=5'"),
        ("horovodrun.sh", ("-np", "2", "--no-autotune", "true"), "horovodrun takes it"),
        ("local.sh", ("-np", "2", "--reset-limit", "3", "true"), "use launch/elastic.sh"),
        ("mpirun.sh", ("-np", "2", "-H", "a:1", "-hostfile", "/dev/null", "true"), "not both"),
        ("mpirun.sh", ("-np", "2", "-H", "localhost:1", "true"), "raise their slots="),
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


def test_several_hosts_by_list_or_file(tmp_path: Path) -> None:
    """These addresses are for documentation: no machine has them, and none is asked."""
    hosts = tmp_path / "hosts"
    hosts.write_text("# GPUs\n198.51.100.7 slots=2\n\n198.51.100.8:2 # new\n")
    joined = "198.51.100.7:2,198.51.100.8:2"
    told = command(
        "mpirun.sh", "--hostfile", str(hosts), "-p", "2222", "--dry-run", "true", OMP_X="1"
    )
    assert told.startswith(f"mpirun -np 4 -host {joined.replace(',', chr(92) + ',')} -bind-to none")
    assert " -mca plm_rsh_args -p\\ 2222 " in told and " -x OMP_X " in told and "openib" not in told
    told = command("horovodrun.sh", "-np", "3", "-H", joined, "-p", "2222", "--dry-run", "true")
    assert told == f"{GLOO} -np 3 --gloo -H 198.51.100.7:2\\,198.51.100.8:1 -p 2222 true"
    assert "-host" not in command("mpirun.sh", "-np", "8", "--dry-run", "true", SLURM_JOB_ID="7")


def test_what_is_said_to_the_libraries_goes_to_all_hosts() -> None:
    said = {"HOROVOD_CYCLE_TIME": "5", "TF_X": "1", "NCCL_DEBUG": "INFO", "OMP_NUM_THREADS": "1"}
    told = command(
        "mpirun.sh", "-np", "1", "-x", "MINE=1", "--dry-run", "true", **said, HOROVOD_RANK="0"
    )
    assert all(f" -x {name} " in told for name in [*said, "MINE", "PATH"])
    assert "HOROVOD_RANK" not in told and "HOME" not in told


def test_slurm_takes_the_templates_numbers_or_the_jobs() -> None:
    assert "--nodes=2 --ntasks=8 --ntasks-per-node=4 --cpus-per-task=8 " in command(
        "slurm.sbatch", "--dry-run", "--config=a.py"
    )
    # A job that was not asked for cores per task gets none from here.
    assert "--cpus-per-task" not in command("slurm.sbatch", "--dry-run", "true", SLURM_JOB_ID="7")
    told = command(
        "slurm.sbatch", "--dry-run", "--config=a.py", SLURM_NNODES="3", SLURM_NTASKS_PER_NODE="5",
        SLURM_CPUS_PER_TASK="6",
    )  # fmt: skip
    numbers = "--nodes=3 --ntasks=15 --ntasks-per-node=5 --cpus-per-task=6"
    assert told.startswith(f"srun --mpi=pmix {numbers} --cpu-bind=none ")
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
    assert shown == f"{GLOO} -np 1 --gloo true"
    script = ". launch/environment.sh; use_mpi_settings; echo $OMPI_MCA_mca_base_param_files"
    files = subprocess.check_output(["bash", "-euc", script], cwd=ROOT, text=True)
    assert files.split(",")[0] == str(ROOT / "mpi" / "mca-params.conf")
