"""Which end of a logged column is best: by the recipe, the class of the model's metric, or Keras's own names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

# What Keras calls its metrics and losses: classes in snake case, functions, columns. And a few that others use.
_LARGER = """
accuracy acc binary_accuracy binary_acc categorical_accuracy sparse_categorical_accuracy top_k_categorical_accuracy
sparse_top_k_categorical_accuracy top_5 auc precision recall precision_at_recall recall_at_precision
sensitivity_at_specificity specificity_at_sensitivity true_positives true_negatives f1_score f_beta_score fbeta_score
io_u binary_io_u mean_io_u one_hot_io_u one_hot_mean_io_u cosine_similarity r2_score
f1 fbeta r2 iou miou dice jaccard sensitivity specificity
"""
_SMALLER = """
loss mean_squared_error mse mean_absolute_error mae mean_absolute_percentage_error mape mean_squared_logarithmic_error
msle root_mean_squared_error rmse mean_relative_error log_cosh log_cosh_error logcosh huber huber_loss
binary_crossentropy binary_focal_crossentropy categorical_crossentropy categorical_focal_crossentropy
sparse_categorical_crossentropy crossentropy ce bce kl_divergence kld kullback_leibler_divergence poisson
hinge squared_hinge categorical_hinge perplexity false_positives false_negatives
"""
ENDS = ("max", "min")


def of_name(column: str) -> str | None:
    """Returns "max" or "min" for a column that is called as Keras calls its metrics and losses; None for others.

    Example:
        >>> of_name("val_auc_1"), of_name("loss"), of_name("accuracy_gap")
        ('max', 'min', None)
    """
    name = column.removeprefix("val_").lower()
    return _end(name) or _end(re.sub(r"_\d+$", "", name))


def of_column(column: str, said: Mapping[str, str]) -> str | None:
    """Returns what is said of a column, or of it without "val_", else what its name says."""
    return said.get(column) or said.get(column.removeprefix("val_")) or of_name(column)


def of_metric(metric: Any) -> str | None:
    """Returns the end at which a metric object is best: by its attribute `direction`, or by its class or function.

    Example:
        >>> import tensorflow as tf
        >>> of_metric(tf.keras.metrics.AUC(name="mine")), of_metric(tf.keras.metrics.Mean(name="accuracy"))
        ('max', None)
    """
    function = metric.get_config().get("fn") if _is_keras(type(metric)) else None
    for thing in (metric, function, *type(metric).__mro__, *type(function).__mro__):
        end = getattr(thing, "direction", None)
        end = end if end in ENDS else _of_keras(thing)
        if end:
            return end
    return None


def of_model(model: Any) -> list[str]:
    """Returns what a model's metrics know and their names do not say, as `read` reads it."""
    metrics = getattr(model, "metrics", ())
    ends = {metric.name: of_metric(metric) for metric in metrics}
    return [f"{name}:{end}" for name, end in ends.items() if end and end != of_name(name)]


def read(items: Any) -> dict[str, str]:
    """Returns directions such as ("mine:max",) by column, without what is none: files may hold anything.

    Example:
        >>> read(["margin:max", "up"])
        {'margin': 'max'}
    """
    items = items if isinstance(items, (list, tuple)) else ()
    pairs = (str(item).rpartition(":") for item in items)
    return {column: end for column, _, end in pairs if column and end in ENDS}


def check(name: str, items: Iterable[Any]) -> None:
    """Raises ValueError for an item that `read` would leave out."""
    for item in items:
        if not read([item]):
            raise ValueError(f"{name}={item!r} must be 'COLUMN:max' or 'COLUMN:min'.")


def _of_keras(thing: Any) -> str | None:
    """The end of one of Keras's classes or functions, or of tflbt's; of the losses among them the smaller one."""
    if not _is_keras(thing) or not hasattr(thing, "__name__"):
        return None
    snake = re.sub("(.)([A-Z][a-z0-9]+)", r"\1_\2", thing.__name__)
    end = _end(re.sub("([a-z])([A-Z])", r"\1_\2", snake).lower())
    return "min" if end and ".losses" in thing.__module__ else end


def _is_keras(thing: Any) -> bool:
    """Whether a class or function is of Keras."""
    return str(getattr(thing, "__module__", "")).split(".")[0] in ("keras", "tf_keras")


def _end(name: str) -> str | None:
    """The end of a name in the table."""
    return "max" if name in _LARGER.split() else "min" if name in _SMALLER.split() else None
