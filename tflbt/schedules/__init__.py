"""Learning rates over time, and how they, or the epochs, grow with the batch size."""

from tflbt.schedules.cosine import CosineDecay
from tflbt.schedules.curve import Curve
from tflbt.schedules.curve_schedule import CurveSchedule
from tflbt.schedules.cyclical import Cyclical
from tflbt.schedules.polynomial import PolynomialDecay
from tflbt.schedules.scaling_rules import linear_scaling, regime_adaptation, square_root_scaling
from tflbt.schedules.step import StepDecay
from tflbt.schedules.warmup import CosineWarmup, LinearWarmup

__all__ = [
    "CosineDecay",
    "CosineWarmup",
    "Curve",
    "CurveSchedule",
    "Cyclical",
    "LinearWarmup",
    "PolynomialDecay",
    "StepDecay",
    "linear_scaling",
    "regime_adaptation",
    "square_root_scaling",
]
