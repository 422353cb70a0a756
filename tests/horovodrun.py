#!/usr/bin/env python
"""Horovod's launcher without its look whether Gloo is built, for which it imports TensorFlow: 3 s of every start."""

from __future__ import annotations

from horovod.runner import launch

if __name__ == "__main__":
    launch.gloo_built = lambda verbose=False: True  # if it is not, the ranks cannot start
    launch.run_commandline()
