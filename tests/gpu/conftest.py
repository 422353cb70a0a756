"""Tests of one GPU, skipped where there is none; with TFLBT_GPU_TESTS=cpu the processor takes its place.

launch/gpu_check.sh runs them on the first machine that has one.
"""

from __future__ import annotations

import os

import pytest
import tensorflow as tf


@pytest.fixture(scope="session")
def device() -> str:
    """The device under test, such as "/GPU:0"."""
    if os.environ.get("TFLBT_GPU_TESTS") == "cpu":
        return "/CPU:0"
    if not tf.config.list_physical_devices("GPU"):
        pytest.skip("no GPU")
    return "/GPU:0"
