"""Rows of a run as a two-phase schedule leaves them."""

from __future__ import annotations

import pytest


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
