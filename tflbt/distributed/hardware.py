"""What a rank computes on, as far as it decides how results are rounded, and whether that is the same on all ranks."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import tensorflow as tf

from tflbt.distributed import comm

VARIABLE = "TFLBT_MIXED_HARDWARE"
# TensorFlow's kernels are chosen by these.
_INSTRUCTIONS = ("avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")


def description(processors: str | None = None) -> str:
    r"""The GPU's model, or else the processor's maker and vector instructions.

    Args:
        processors: What the system says of its processors, in the form of `/proc/cpuinfo`; default that file.

    Example:
        >>> description("vendor_id : GenuineIntel\nflags : fpu avx sse avx2")
        'GenuineIntel avx avx2'
    """
    if processors is None:
        if gpus := tf.config.get_visible_devices("GPU"):
            return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
        file = Path("/proc/cpuinfo")
        processors = file.read_text() if file.exists() else ""
    lines = [line.partition(":") for line in processors.splitlines()]
    facts = {name.strip(): value.split() for name, _, value in lines}
    flags = facts.get("flags") or facts.get("Features", [])
    found = [name for name in _INSTRUCTIONS if name in flags]
    return " ".join([*(facts.get("vendor_id") or [platform.machine()]), *found])


def of_this_rank() -> tuple[str, str]:
    """What the environment says of the ranks' hardware, and what this rank computes on."""
    return os.environ.get(VARIABLE, ""), description()


def different(reduction: comm.Reduction) -> list[str]:
    """What the ranks compute on, if it is not the same on all of them, else nothing; all ranks make the same call.

    The environment variable TFLBT_MIXED_HARDWARE set to 1 on any rank says that it is not, set to 0 that it is.

    Raises:
        ValueError: If it is set to something else.
    """
    said, _ = own = of_this_rank()
    if said not in ("", "0", "1"):
        raise ValueError(f"{VARIABLE}={said!r} must be 0 or 1.")
    ranks = comm.gather_objects(own, "tflbt.hardware", reduction)
    kinds = sorted({kind for _, kind in ranks})
    for answer in ("1", "0"):
        if any(said == answer for said, _ in ranks):
            return kinds if answer == "1" else []
    return kinds if len(kinds) > 1 else []
