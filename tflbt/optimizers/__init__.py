"""What an update does: layer-wise optimizers for large batches, as Keras optimizers."""

from tflbt.optimizers.lars import LARS

__all__ = ["LARS"]
