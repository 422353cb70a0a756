"""What measured runs say: names for batch sizes. Pure Python, no TensorFlow."""

from tflbt.analysis.regime_line import regime_line
from tflbt.analysis.regimes import Regimes, Run, regimes

__all__ = ["Regimes", "Run", "regime_line", "regimes"]
