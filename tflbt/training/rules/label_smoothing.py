"""Label smoothing for integer labels, as a Keras loss."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


@tf.keras.utils.register_keras_serializable(package="tflbt")
class SmoothedSparseCategoricalCrossentropy(tf.keras.losses.Loss):
    r"""Cross-entropy against targets that leave a share s of the mass to all K classes alike.

    For a sample of label y and predicted probabilities p,

    .. math:: \ell = -\sum_{k=1}^K t_k \log p_k, \qquad t_k = (1 - s)\,[k = y] + \frac{s}{K},

    which is what `tf.keras.losses.CategoricalCrossentropy` makes of one-hot labels, here without making them. With
    logits z and their log-sum-exp :math:`L = \log \sum_k e^{z_k}` it is
    :math:`(1 - s)(L - z_y) + s\,(L - \frac1K \sum_k z_k)`.

    Its least value is not 0 but the entropy of the targets, and a loss that is reported (`val_loss` too) is the
    smoothed one: do not compare it with one of another s. The accuracy is as without smoothing. The targets enter
    linearly in the logits, so the Hessian in the logits, and with it the output layer's eigenvalue at given weights,
    does not depend on s.

    Args:
        label_smoothing: s, share of the mass that is spread evenly, 0 <= s < 1; default 0.1, as Szegedy et al. and
            `limit-of-the-batch-size.txt` (Table 4) have it. 0: plain cross-entropy.
        from_logits: True (default): predictions are logits; False: probabilities.
        reduction: As in Keras; default: the mean over samples, as `LargeBatchModel` needs.
        name: Of the loss.

    Raises:
        ValueError: If `label_smoothing` is not at least 0 and less than 1.

    Example:
        >>> loss = SmoothedSparseCategoricalCrossentropy(0.2)
        >>> round(float(loss([0], [[0.0, 0.0]])), 4)  # log 2: even predictions cost the same for any target
        0.6931
        >>> round(float(loss([0], [[2.0, 0.0]])), 4)  # 0.9 log(1 + e^-2) + 0.1 log(1 + e^2)
        0.3269

    Source: Szegedy et al., "Rethinking the Inception Architecture" (2016), section 7; optimization 3 of
    `limit-of-the-batch-size.txt`, section 3.1.
    """

    def __init__(
        self,
        label_smoothing: float = 0.1,
        from_logits: bool = True,
        reduction: str = tf.keras.losses.Reduction.AUTO,
        name: str = "smoothed_sparse_categorical_crossentropy",
    ) -> None:
        if not 0 <= label_smoothing < 1:
            raise ValueError(
                f"label_smoothing={label_smoothing!r} must be at least 0 and less than 1."
            )
        super().__init__(reduction=reduction, name=name)
        self.label_smoothing = float(label_smoothing)
        self.from_logits = from_logits

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        """Returns the loss of each sample, in float32 for predictions of 16 bits.

        Args:
            y_true: Integer labels, shape ``[samples, ...]`` or ``[samples, ..., 1]``.
            y_pred: Logits or probabilities, shape ``[samples, ..., K]``.
        """
        predictions = tf.convert_to_tensor(y_pred)
        if predictions.dtype.size < 4:
            predictions = tf.cast(predictions, tf.float32)
        labels = tf.convert_to_tensor(y_true)
        if labels.shape.rank == predictions.shape.rank and labels.shape[-1] == 1:
            labels = tf.squeeze(labels, -1)
        logits = predictions if self.from_logits else _log_probabilities(predictions)
        hard = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(labels, tf.int64), logits)
        if not self.label_smoothing:
            return hard
        even = tf.reduce_logsumexp(logits, -1) - tf.reduce_mean(logits, -1)
        return (1 - self.label_smoothing) * hard + self.label_smoothing * even

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the loss again."""
        return {
            **super().get_config(),
            "label_smoothing": self.label_smoothing,
            "from_logits": self.from_logits,
        }


def _log_probabilities(probabilities: tf.Tensor) -> tf.Tensor:
    """Logarithms of probabilities that sum to 1, kept off 0 as Keras does."""
    epsilon = tf.keras.backend.epsilon()
    shares = probabilities / tf.reduce_sum(probabilities, -1, keepdims=True)
    return tf.math.log(tf.clip_by_value(shares, epsilon, 1 - epsilon))
