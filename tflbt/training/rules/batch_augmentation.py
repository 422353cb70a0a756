"""Batch augmentation among the rules: `tflbt.data` makes the instances of each sample, this counts the samples."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from tflbt.data.batch_augmentation import BatchAugmentation
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
