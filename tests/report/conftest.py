"""Rows of a run as a two-phase schedule leaves them, and invented searches."""

from __future__ import annotations

import math

import pytest

from tflbt.report.search_history import SearchHistory, TrialRow

RATE, BETA, WARMUP = "optimizer.learning_rate", "schedule.beta", "warmup.epochs"


@pytest.fixture
def two_phase_rows():
    """60 epochs: the phase switch after epoch 30, decays after 40, 50 and 60."""
    return [
        {
            "epoch": n,
            "loss": 2 / n,
            "accuracy": 1 - 0.9 / n,
            "val_loss": 2.1 / n,
            "val_accuracy": 1 - 0.95 / n,
            "learning_rate": 3.2 * 0.5 ** max(0, (n - 31) // 10),
            "batch_size": 512,
            "phase": "convergence" if n >= 30 else "exploration",
            "eigenvalue": 10.0 / n if n >= 30 else None,
            "decays": max(0, (n - 30) // 10),
        }
        for n in range(1, 61)
    ]


@pytest.fixture
def search():
    """Makes a search of (status, objective, values) in turn."""

    def make(rows, direction="max", objective="val_accuracy", log=(), baseline=None):
        space = [
            {"class_name": "Float", "config": {"name": name, "sampling": "log"}} for name in log
        ]
        settings = {"direction": direction, "objective": objective, "space": {"space": space}}
        trials = [TrialRow(n, status, o, v) for n, (status, o, v) in enumerate(rows, start=1)]
        return SearchHistory(settings, trials, baseline)

    return make


@pytest.fixture
def grid():
    """Makes the rows of a grid whose objective depends on the place; the last one diverged."""

    def make(rates=(0.5, 1.0, 2.0, 4.0), warmups=(0, 2, 4)):
        rows = [
            ("completed", 0.5 + 0.1 * i + 0.01 * j, {RATE: rate, WARMUP: warmup})
            for i, rate in enumerate(rates)
            for j, warmup in enumerate(warmups)
        ]
        return [*rows[:-1], ("diverged", 0.99, rows[-1][2])]

    return make


@pytest.fixture
def scattered():
    """Rows of every status, scattered over the learning rate and beta."""
    return [
        ("completed", 0.90, {RATE: 0.013, BETA: 0.31}),
        ("completed", 0.97, {RATE: 1.9, BETA: 0.52}),
        ("stopped", 0.94, {RATE: 0.4, BETA: 0.66}),
        ("diverged", math.nan, {RATE: 7.7, BETA: 0.45}),
        ("failed", 0.98, {RATE: 5.1, BETA: 0.36}),
        ("running", math.nan, {RATE: 0.09, BETA: 0.58}),
    ]
