"""Run directories with a configuration and a few epochs."""

from __future__ import annotations

import math

import pytest

from tflbt.report import RunDirectory


@pytest.fixture
def make_run(tmp_path):
    """Makes a run of three epochs: name, batch size, the final accuracy (NaN: it diverged), and more settings."""

    def make(name, batch_size, final, seed=0, **settings):
        config = {"name": name, "batch_size": batch_size, "seed": seed, "epochs": 3, **settings}
        folder = tmp_path / f"{name}_{batch_size}_{seed}_{len(list(tmp_path.iterdir()))}"
        run = RunDirectory.create(folder, config)
        for epoch in (1, 2, 3):
            accuracy = final * (0.5 + epoch / 6) if epoch < 3 else final
            updates = epoch * 640 // batch_size
            row = {
                "epoch": epoch,
                "updates": updates,
                "samples": 640 * epoch,
                "seconds": 2.0 + seed,
            }
            run.metrics.append({**row, "loss": 1.0 / epoch + seed, "val_accuracy": accuracy})
        return str(run.path)

    return make


@pytest.fixture
def sweep_runs(make_run):
    """Two variants at three batch sizes; the middle one of lars with two seeds, the largest of sgd lost."""
    lars = [make_run("lars", 64, 0.9), make_run("lars", 128, 0.92), make_run("lars", 128, 0.94, 1)]
    lars.append(make_run("lars", 256, 0.8))
    sgd = [make_run("sgd", 64, 0.91), make_run("sgd", 128, 0.7), make_run("sgd", 256, math.nan)]
    return [*lars, *sgd]
