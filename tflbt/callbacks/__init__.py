"""Keras callbacks for `fit`."""

from tflbt.callbacks.adaptive_batch_size import AdaptiveBatchSize
from tflbt.callbacks.checkpoint import Checkpoint
from tflbt.callbacks.curvature_monitor import CurvatureMonitor
from tflbt.callbacks.elastic.elastic_ranks import ElasticRanks
from tflbt.callbacks.first_epochs_batch import FirstEpochsBatch
from tflbt.callbacks.grow_batch_size import GrowBatchSize
from tflbt.callbacks.monitors.distance_monitor import DistanceMonitor
from tflbt.callbacks.monitors.margin_monitor import MarginMonitor
from tflbt.callbacks.monitors.signal_to_noise import SignalToNoise
from tflbt.callbacks.non_finite_loss import NonFiniteLoss
from tflbt.callbacks.rate_curve import RateCurve
from tflbt.callbacks.run_log import RunLog
from tflbt.callbacks.stability_monitor import StabilityMonitor
from tflbt.callbacks.step_decay import StepDecay
from tflbt.callbacks.time_account import TimeAccount
from tflbt.callbacks.trust_ratio_monitor import TrustRatioMonitor
from tflbt.callbacks.two_phase import TwoPhaseSchedule
from tflbt.callbacks.warmup import Warmup

__all__ = [
    "AdaptiveBatchSize",
    "Checkpoint",
    "CurvatureMonitor",
    "DistanceMonitor",
    "ElasticRanks",
    "FirstEpochsBatch",
    "GrowBatchSize",
    "MarginMonitor",
    "NonFiniteLoss",
    "RateCurve",
    "RunLog",
    "SignalToNoise",
    "StabilityMonitor",
    "StepDecay",
    "TimeAccount",
    "TrustRatioMonitor",
    "TwoPhaseSchedule",
    "Warmup",
]
