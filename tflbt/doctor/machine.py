"""Examines this machine: what is installed, and whether real ranks can reduce a number.

TensorFlow and Horovod are imported in processes of their own, so that a broken installation becomes a line of the
report and not a crash.
"""

from __future__ import annotations

import concurrent.futures
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tflbt import legacy_keras
from tflbt.doctor.diagnosis import unanswered
from tflbt.doctor.facts import Facts, Finding

_PARTS = ("horovod", "tensorflow-addons", "keras-tuner")
SECONDS = 120.0  # for a command: a first import from a network drive takes most of a minute
_NO_ANSWER = 124  # the status of a command whose time was over

# The classes of tf.keras come from the package keras, or from tf_keras if that replaces Keras 3.
_TENSORFLOW = """
import json, sys
import tensorflow as tf
keras = sys.modules[tf.keras.Model.__module__.split(".")[0]]
details = tf.config.experimental.get_device_details
gpus = tf.config.list_physical_devices("GPU")
names = [details(gpu).get("device_name", gpu.name) for gpu in gpus]
capabilities = [".".join(map(str, details(gpu).get("compute_capability", ()))) for gpu in gpus]
build = tf.sysconfig.get_build_info()
print(json.dumps({
    "tensorflow": tf.__version__, "keras": keras.__version__, "gpus": names,
    "capabilities": [each for each in capabilities if each],
    "cuda": build.get("cuda_version", ""), "compiled_for": list(build.get("cuda_compute_capabilities", ())),
}))
"""
# `horovodrun --check-build` loads Horovod, and with it TensorFlow, once for each part.
_HOROVOD = """
import horovod.tensorflow as hvd
parts = {"MPI": hvd.mpi_built(), "Gloo": hvd.gloo_built(), "NCCL": hvd.nccl_built()}
parts |= {"DDL": hvd.ddl_built(), "CCL": hvd.ccl_built()}
nccl = int(parts["NCCL"])
version = ".".join(map(str, (nccl // 10000, nccl // 100 % 100, nccl % 100)))
print("TensorFlow", *(name for name, built in parts.items() if built), f"NCCL={version}" if nccl else "")
"""
_ALL_REDUCE = """
import tensorflow as tf
from tflbt.distributed import comm
comm.init()
total = comm.all_reduce_sum([tf.constant([comm.rank() + 1.0])], "doctor")[0]
print(f"rank {comm.rank()} of {comm.size()}: {float(total[0])}", flush=True)
"""


def patience(seconds: float = SECONDS) -> float:
    """The seconds that a command may take: longer where more processes than cores share the machine."""
    return seconds * max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0)))


def gather(seconds: float = SECONDS) -> Facts:
    """Examines this machine; takes some seconds, as TensorFlow and Horovod are imported.

    Args:
        seconds: That each import may take where the machine does nothing else.
    """
    limit = patience(seconds)
    versions = {part: found for part in _PARTS if (found := _version(part))}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        imports = {
            name: pool.submit(_run, [sys.executable, "-c", program], limit)
            for name, program in (("TensorFlow", _TENSORFLOW), ("Horovod", _HOROVOD))
        }
    done = {name: each.result() for name, each in imports.items()}
    seen, error = _read_probe(done["TensorFlow"])
    parts = done["Horovod"].stdout if done["Horovod"].returncode == 0 else ""
    words = _last_line(parts).split()
    return Facts(
        python=sys.version_info[:3],
        versions=versions,
        tensorflow=seen.get("tensorflow"),
        tensorflow_error=error,
        keras=seen.get("keras"),
        gpus=tuple(seen.get("gpus", ())),
        cuda=seen.get("cuda", ""),
        compiled_for=tuple(seen.get("compiled_for", ())),
        capabilities=tuple(seen.get("capabilities", ())),
        driver=_driver(),
        kernel_cache=_kernel_cache(),
        keras_by_tflbt=legacy_keras.chosen,
        nccl="".join(word[5:] for word in words if word.startswith("NCCL=")),
        horovod_parts=frozenset(word for word in words if "=" not in word),
        horovod_error=_error_of(done["Horovod"]),
        unanswered=frozenset(n for n, each in done.items() if each.returncode == _NO_ANSWER),
        seconds=limit,
        load=os.getloadavg()[0],
        launchers=_launchers(limit),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
    )


def try_ranks(ranks: int, parts: frozenset[str], seconds: float = SECONDS) -> Finding:
    """Starts `ranks` real ranks on this machine, which sum their numbers."""
    controller = "--gloo" if "Gloo" in parts else "--mpi"
    launcher = [sys.executable, "-m", "tflbt.distributed.horovodrun", "-np", str(ranks), controller]
    limit = patience(seconds)
    done = _run([*launcher, sys.executable, "-c", _ALL_REDUCE], limit)
    answers = set(re.findall(r"rank (\d+) of (\d+): ([\d.]+)", done.stdout))
    total = ranks * (ranks + 1) / 2
    if answers == {(str(rank), str(ranks), str(total)) for rank in range(ranks)}:
        return Finding("ok", "All-reduce", f"{ranks} ranks ({controller[2:]}) agree on the sum")
    if done.returncode == _NO_ANSWER:
        cores = len(os.sched_getaffinity(0))
        return unanswered("All-reduce", limit, os.getloadavg()[0], cores)
    errors = [line for line in done.stderr.splitlines() if "rror" in line]
    hint = "launch/local.sh N on a script of your own shows the whole output"
    return Finding("error", "All-reduce", (errors or ["not all ranks answered"])[0], hint)


def _driver() -> str:
    """The version of NVIDIA's driver, which the kernel tells where it is loaded."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return ""
    found = re.search(r"\b\d{3,}(\.\d+)+", text)
    return found[0] if found else ""


def _kernel_cache() -> str:
    """Where compiled kernels stay, if the user has made it large enough for all of TensorFlow's."""
    large = os.environ.get("CUDA_CACHE_MAXSIZE", "0")
    enough = large.isdigit() and int(large) >= 2**31 and os.environ.get("CUDA_CACHE_DISABLE") != "1"
    return os.environ.get("CUDA_CACHE_PATH", "~/.nv/ComputeCache") if enough else ""


def _last_line(text: str) -> str:
    """What a program printed last; warnings may come before it."""
    return (text.strip().splitlines() or [""])[-1]


def _read_probe(done: subprocess.CompletedProcess[str]) -> tuple[dict, str]:
    """Returns what the TensorFlow probe printed, and the last line of its error if it failed."""
    if done.returncode == 0 and done.stdout.strip():
        return json.loads(_last_line(done.stdout)), ""
    return {}, _error_of(done) or f"the import ended with status {done.returncode}"


def _error_of(done: subprocess.CompletedProcess[str]) -> str:
    """The last line of a command's error; which signal ended it if one did; empty if it succeeded."""
    if done.returncode < 0:
        return f"ended by signal {-done.returncode}"
    return _last_line(done.stderr) if done.returncode else ""


def _launchers(seconds: float) -> dict[str, str]:
    """Returns the first line that each installed launcher prints as its version."""
    runs = {name: _run([name, "--version"], seconds) for name in ("horovodrun", "mpirun", "srun")}
    return {
        name: done.stdout.strip().splitlines()[0]
        for name, done in runs.items()
        if done.returncode == 0 and done.stdout.strip()
    }


def _version(part: str) -> str | None:
    """The installed version of a distribution; None without one."""
    try:
        return importlib.metadata.version(part)
    except importlib.metadata.PackageNotFoundError:
        return None


def _run(command: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """Runs a command; one that does not exist has failed, and one that takes longer has the status _NO_ANSWER."""
    # Programs beside this Python come first, as its environment need not be active.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    environment = {**os.environ, "PATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if os.geteuid() == 0:  # Open MPI refuses root unless told twice
        environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    program = shutil.which(command[0], path=path)
    if program is None:
        return subprocess.CompletedProcess(command, 127, "", f"{command[0]} is not on PATH")
    words = [program, *command[1:]]
    try:
        return subprocess.run(
            words, env=environment, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        return subprocess.CompletedProcess(command, _NO_ANSWER, "", str(error))
    except OSError as error:
        return subprocess.CompletedProcess(command, 1, "", f"{type(error).__name__}: {error}")
