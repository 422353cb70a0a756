"""Learning rates over time, and how they grow with the batch size."""

from tflbt.schedules.scaling_rules import linear_scaling, square_root_scaling

__all__ = ["linear_scaling", "square_root_scaling"]
