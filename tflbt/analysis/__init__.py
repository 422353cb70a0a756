"""Analysis of measured runs, in pure Python without TensorFlow: which batch sizes are large, huge or full."""

from tflbt.analysis.regime_line import regime_line
from tflbt.analysis.regimes import Regimes, Run, regimes

__all__ = ["Regimes", "Run", "regime_line", "regimes"]
