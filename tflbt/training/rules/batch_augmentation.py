"""Batch augmentation among the rules: `tflbt.data` makes the instances of each sample, this counts the samples."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from absl import logging

from tflbt.data.batch_augmentation import BatchAugmentation
from tflbt.models.ghost_batch_norm import GhostBatchNormalization
from tflbt.training.rules.rule import Rule, Rules


@dataclasses.dataclass(eq=False)
class Instances(Rule):
    """What `fit(batch_augmentation=...)` is among the rules."""

    augmentation: BatchAugmentation

    name: ClassVar[str] = "batch_augmentation"

    @property
    def idle(self) -> bool:
        """True for a single instance."""
        return self.augmentation.instances == 1

    def start(self, model: Any, spec: Any) -> None:
        """Begins a `fit`; says once where ghosts hold instances of few samples."""
        super().start(model, spec)
        sizes = {
            layer.ghost_size
            for layer in model.submodules
            if isinstance(layer, GhostBatchNormalization)
        }
        state, count = model.update_state, self.augmentation.instances
        if not sizes or self.augmentation.placement != "sub_batch" or state.noticed_ghosts:
            return
        state.noticed_ghosts = True
        if model.reduction.rank == 0:
            logging.warning(
                "Ghosts of %d hold instances of %d samples, as the %d instances of a sample stand side by side: use "
                "placement='rank' for ghosts of as many samples as without batch augmentation, or larger ghosts.",
                min(sizes), -(-min(sizes) // count), count,
            )  # fmt: skip

    def columns(self, epoch: int) -> dict[str, Any]:
        """The samples seen, without their further instances."""
        return {"distinct_samples": self.model.samples_seen // self.augmentation.instances}


def gathered(*rules: Rule | BatchAugmentation | None) -> Rules:
    """The rules of a `fit`, of which some may be None."""
    return Rules(
        Instances(rule) if isinstance(rule, BatchAugmentation) else rule
        for rule in rules
        if rule is not None
    )
