"""One update: the model whose fit takes a global batch, and checkpoints from which a run goes on exactly."""

from tflbt.training.large_batch_model import LargeBatchModel
from tflbt.training.rules.activation_noise import ActivationNoise
from tflbt.training.rules.adversarial import FGSM
from tflbt.training.rules.augmentation_scale import AugmentationScale
from tflbt.training.rules.gradient_norm import GradientNorm
from tflbt.training.rules.label_smoothing import SmoothedSparseCategoricalCrossentropy
from tflbt.training.rules.noise_injection import GradientNoise, LabelNoise, WeightNoise
from tflbt.training.rules.noise_scale import NoiseScale
from tflbt.training.rules.rule import Rule
from tflbt.training.rules.small_loss import SmallLossDiscarding
from tflbt.training.rules.strides import Strides
from tflbt.training.rules.target_noise import TargetNoise

__all__ = [
    "ActivationNoise",
    "AugmentationScale",
    "FGSM",
    "GradientNoise",
    "GradientNorm",
    "LabelNoise",
    "LargeBatchModel",
    "NoiseScale",
    "Rule",
    "SmallLossDiscarding",
    "SmoothedSparseCategoricalCrossentropy",
    "Strides",
    "TargetNoise",
    "WeightNoise",
]
