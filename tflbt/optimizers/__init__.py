"""What an update does: layer-wise optimizers for large batches, as Keras optimizers."""

from tflbt.optimizers.curvature_radius import CurvatureRadius
from tflbt.optimizers.lamb import LAMB
from tflbt.optimizers.lars import LARS
from tflbt.optimizers.layer_wise import LayerWise
from tflbt.optimizers.median_curvature import MedianCurvature
from tflbt.optimizers.percent_delta import PercentDelta

__all__ = ["CurvatureRadius", "LAMB", "LARS", "LayerWise", "MedianCurvature", "PercentDelta"]
