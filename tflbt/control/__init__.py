"""Decisions, in pure Python: when to decay, when to switch phase, how a batch is split. No TensorFlow here."""

from tflbt.control.batch_plan import BatchPlan
from tflbt.control.learning_rate import ComposedRate
from tflbt.control.plateau import Plateau
from tflbt.control.two_phase import TwoPhase

__all__ = ["BatchPlan", "ComposedRate", "Plateau", "TwoPhase"]
