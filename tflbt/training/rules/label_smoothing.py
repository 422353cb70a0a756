"""Label smoothing for integer labels, as a Keras loss."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tflbt import checks


@checks.arguments
@tf.keras.utils.register_keras_serializable(package="tflbt")
class SmoothedSparseCategoricalCrossentropy(tf.keras.losses.Loss):
    r"""Cross-entropy against targets that spread a share s of the mass evenly over all K classes.

    For a sample of label y and predicted probabilities p,

    $$\ell = -\sum_{k=1}^K t_k \log p_k, \qquad t_k = (1 - s)\,[k = y] + \frac{s}{K},$$

    which is what `tf.keras.losses.CategoricalCrossentropy` computes of one-hot labels, which are not needed here. With
    logits z and their log-sum-exp $L = \log \sum_k e^{z_k}$ it is $(1 - s)(L - z_y) + s\,(L - \frac1K \sum_k z_k)$.

    Its least value is not 0 but the entropy of the targets, and the loss that is reported (`val_loss` too) is the
    smoothed loss: do not compare losses of different s. The accuracy does not change. The targets are multiplied with
    the logits, so the Hessian by the logits, and with it the output layer's eigenvalue at the same weights, does not
    depend on s.

    Args:
        label_smoothing: s, the share of the mass that is spread evenly, 0 <= s < 1; default 0.1, as in Szegedy et al.
            and Table 4 of `limit-of-the-batch-size.txt`. 0: plain cross-entropy.
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
        label_smoothing: Any = 0.1,  # a number, as checked below
        from_logits: bool = True,
        reduction: str = tf.keras.losses.Reduction.AUTO,
        name: str = "smoothed_sparse_categorical_crossentropy",
    ) -> None:
        checks.number("label_smoothing", label_smoothing, at_least=0, less_than=1)
        checks.one_of("reduction", reduction, tf.keras.losses.Reduction.all())
        super().__init__(reduction=reduction, name=name)
        self.label_smoothing = float(label_smoothing)
        self.from_logits = from_logits

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        """The loss of each sample, in float32 for predictions of 16 bits.

        Labels have the shape `[samples, ...]` or `[samples, ..., 1]`, predictions `[samples, ..., K]`. Real numbers of
        the shape of the predictions are targets themselves, one-hot labels with noise for instance.
        """
        predictions = tf.convert_to_tensor(y_pred)
        if predictions.dtype.size < 4:
            predictions = tf.cast(predictions, tf.float32)
        labels = tf.convert_to_tensor(y_true)
        logits = predictions if self.from_logits else _log_probabilities(predictions)
        same_rank = labels.shape.rank == predictions.shape.rank
        if same_rank and labels.dtype.is_floating and labels.shape[-1] not in (None, 1):
            targets = tf.cast(labels, logits.dtype)
            sizes = tf.reduce_logsumexp(logits, -1) * tf.reduce_sum(targets, -1)
            hard = sizes - tf.reduce_sum(targets * logits, -1)
        else:
            labels = tf.squeeze(labels, -1) if same_rank and labels.shape[-1] == 1 else labels
            labels = tf.cast(labels, tf.int64)
            hard = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        if not self.label_smoothing:
            return hard
        even = tf.reduce_logsumexp(logits, -1) - tf.reduce_mean(logits, -1)
        return (1 - self.label_smoothing) * hard + self.label_smoothing * even

    def get_config(self) -> dict[str, Any]:
        """The arguments of an equal loss."""
        ours = {"label_smoothing": self.label_smoothing, "from_logits": self.from_logits}
        return {**super().get_config(), **ours}


def _log_probabilities(probabilities: tf.Tensor) -> tf.Tensor:
    """Logarithms of probabilities that sum to 1, kept away from 0 as Keras does."""
    epsilon = tf.keras.backend.epsilon()
    shares = probabilities / tf.reduce_sum(probabilities, -1, keepdims=True)
    return tf.math.log(tf.clip_by_value(shares, epsilon, 1 - epsilon))
