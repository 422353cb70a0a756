"""A program: imports tflbt, runs the module that its arguments name, and fails if that imports TensorFlow."""

from __future__ import annotations

import runpy
import sys

import tflbt
import tflbt.control  # noqa: F401 - decisions are made without TensorFlow

if __name__ == "__main__":
    assert "tensorflow" not in sys.modules
    del sys.argv[0]
    if not sys.argv:  # its own names are there all the same
        assert tflbt.LargeBatchModel
        sys.exit()
    try:
        runpy.run_module(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        assert not end.code, end.code
    assert "tensorflow" not in sys.modules
