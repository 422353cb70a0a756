"""The loss's second order: dominant Hessian eigenvalues of the output layer, or of all layers."""

from __future__ import annotations

from tflbt.curvature.estimate import top_eigenvalue
from tflbt.curvature.result import EigenResult

__all__ = ["EigenResult", "top_eigenvalue"]
