"""hparams/digits_resnet.py with a network that is traced in a moment: the recipe of the command's tests."""

from __future__ import annotations

from pathlib import Path

import ml_collections

from tflbt import recipes

DIGITS = Path(__file__).resolve().parents[1] / "hparams" / "digits_resnet.py"


def get_config(variant: str = "two_phase_lars") -> ml_collections.ConfigDict:
    """Returns the configuration of a variant."""
    config = recipes.load(f"{DIGITS}:{variant}")
    with config.unlocked():
        config.model.depth, config.model.widths = 4, (8,)
        config.sub_batch_size = None
    return config
