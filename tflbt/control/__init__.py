"""Decisions in pure Python, without TensorFlow: when to decay, grow or switch phase, and how a batch is split."""

from tflbt.control.adaptive_batch import AdaptiveBatch
from tflbt.control.batch_plan import BatchPlan
from tflbt.control.grow_batch import grown
from tflbt.control.learning_rate import ComposedRate
from tflbt.control.median_stopping import MedianStopping
from tflbt.control.plateau import Plateau
from tflbt.control.ranks import ranks_for
from tflbt.control.stability import StabilityWatch, stability_limit
from tflbt.control.two_phase import TwoPhase

__all__ = [
    "AdaptiveBatch",
    "BatchPlan",
    "ComposedRate",
    "MedianStopping",
    "Plateau",
    "StabilityWatch",
    "TwoPhase",
    "grown",
    "ranks_for",
    "stability_limit",
]
