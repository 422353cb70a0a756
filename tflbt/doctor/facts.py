"""What the doctor finds on a machine, and the lines that it prints about it."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is installed on a machine."""

    python: tuple[int, ...]  # version of the running Python, such as (3, 11, 7)
    versions: dict[str, str]  # of each installed part, by the name of its distribution
    tensorflow: str | None  # its version; None if it cannot be imported
    tensorflow_error: str  # last line of the error of its import, or empty
    keras: str | None  # version of the package behind tf.keras; None without TensorFlow
    gpus: tuple[str, ...]  # names of those that TensorFlow sees, in the order of local ranks
    horovod_parts: frozenset[str]  # built into it: "TensorFlow", "MPI", "Gloo", "NCCL", ...
    launchers: dict[str, str]  # what each prints as its version, by name
    cores: int  # that this process may use
    memory_gib: float
    horovod_error: str = ""  # last line of the error of its import
    unanswered: frozenset[str] = (
        frozenset()
    )  # those of TensorFlow and Horovod whose import did not end in time
    seconds: float = 0.0  # the time that they had
    load: float = 0.0  # processes that wanted a core meanwhile
    keras_by_tflbt: bool = False  # Keras 2 was chosen by tflbt, and not before Python began
    cuda: str = ""  # the version that TensorFlow is built for; empty without
    compiled_for: tuple[
        str, ...
    ] = ()  # architectures of its kernels, such as "sm_70", "compute_80"
    capabilities: tuple[str, ...] = ()  # of the GPUs, such as "9.0", in their order
    driver: str = ""  # version of NVIDIA's driver on this machine; empty without one
    nccl: str = ""  # version that Horovod is built with
    kernel_cache: str = (
        ""  # where compiled kernels stay (CUDA_CACHE_PATH), if CUDA_CACHE_MAXSIZE lets all stay
    )


@dataclasses.dataclass(frozen=True)
class Finding:
    """A line of the report."""

    # "ok", "warning", "missing" (and not needed), "unknown" (no answer), or "error": training could not start
    status: str
    name: str  # of the part
    value: str  # what was found
    hint: str = ""  # how to fix it; empty if there is nothing to fix
