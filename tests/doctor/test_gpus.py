"""What the doctor says about GPUs: their drivers, and how TensorFlow's kernels run on them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.doctor.test_diagnosis import HEALTHY
from tflbt.doctor import gpus
from tflbt.doctor.facts import Finding

# As tf.sysconfig.get_build_info() has them.
FIRST = {
    "cuda": "12.2",
    "compiled_for": ("sm_50", "sm_60", "sm_70", "sm_75", "compute_80"),
}
SECOND = {
    "cuda": "12.5.1",
    "compiled_for": ("sm_60", "sm_70", "sm_80", "sm_89", "compute_90"),
}
H100 = {"gpus": ("H100", "H100"), "capabilities": ("9.0", "9.0"), "driver": "550.54.15"}


def judge(ranks: int = 1, **changes: Any) -> dict[str, Finding]:
    return {f.name: f for f in gpus.judge(dataclasses.replace(HEALTHY, **changes), ranks)}


@pytest.mark.parametrize(
    ("capability", "first", "second"),
    [
        ("3.7", "none", "none"),
        ("7.0", "binary", "binary"),
        ("7.5", "binary", "binary"),
        ("8.0", "binary", "binary"),
        ("8.6", "binary", "binary"),
        ("8.9", "binary", "binary"),
        ("9.0", "ptx", "binary"),
        ("10.0", "ptx", "ptx"),
        ("12.0", "ptx", "ptx"),
    ],
)
def test_how_kernels_run_on_a_device(capability: str, first: str, second: str) -> None:
    assert gpus.way(capability, FIRST["compiled_for"]) == first
    assert gpus.way(capability, SECOND["compiled_for"]) == second


def test_an_h100_compiles_for_half_an_hour_in_the_first_lane_unless_it_has_a_cache() -> None:
    found = judge(2, **H100, **FIRST)
    assert set(found) == {"GPUs", "- driver", "- capability 9.0"}
    kernels = found["- capability 9.0"]
    assert kernels.status == "warning" and "30 minutes" in kernels.value
    assert "CUDA_CACHE_MAXSIZE=4294967296" in kernels.hint and "CUDA_CACHE_PATH" in kernels.hint
    assert "--tensorflow 2.18" in kernels.hint
    kernels = judge(**H100, **FIRST, kernel_cache="/scratch/cuda")["- capability 9.0"]
    assert kernels.status == "ok" and "/scratch/cuda" in kernels.value
    assert {f.status for f in judge(2, **H100, **SECOND).values()} == {"ok"}


@pytest.mark.parametrize(
    ("driver", "lane", "status"),
    [
        ("535.104.05", FIRST, "ok"),
        ("530.30.02", FIRST, "error"),  # it runs CUDA 12, but compiles no PTX of 12.2
        ("530.30.02", SECOND, "ok"),
        ("520.61.05", SECOND, "error"),
    ],
)
def test_drivers(driver: str, lane: dict, status: str) -> None:
    found = judge(**{**H100, "driver": driver}, **lane)["- driver"]
    assert found.status == status
    assert ("or newer" in found.hint) == (status == "error")


def test_a_later_gpu_wants_the_driver_that_compiles_this_ptx() -> None:
    later = {"gpus": ("B200",), "capabilities": ("10.0",), **SECOND}
    assert "R555" in judge(**later, driver="550.54.15")["- driver"].hint
    assert judge(**later, driver="570.10")["- driver"].status == "ok"


def test_no_gpu_is_fine_but_one_that_is_not_seen_is_not() -> None:
    assert judge()["GPUs"].status == "ok"
    login_node = judge(**FIRST)["GPUs"]
    assert login_node.status == "ok" and "also runs on GPUs" in login_node.value
    unseen = judge(**FIRST, driver="550.54.15")["GPUs"]
    assert unseen.status == "warning" and "CUDA_VISIBLE_DEVICES" in unseen.hint
    assert "--gpu" in judge(driver="550.54.15")["GPUs"].hint


def test_a_gpu_without_kernels_is_an_error() -> None:
    old = judge(gpus=("K80",), capabilities=("3.7",), driver="470.1", **FIRST)
    assert old["- capability 3.7"].status == "error"
