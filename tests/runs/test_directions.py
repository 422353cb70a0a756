"""Which end of a column is best: by the recipe, by the class of the model's metric, by Keras's names, or not said."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt import LargeBatchModel, report
from tflbt.callbacks import RunLog
from tflbt.report.tiles import tiles
from tflbt.runs import directions
from tflbt.runs.history import History
from tflbt.runs.run_directory import RunDirectory

K = tf.keras


def test_what_is_better_is_known_by_a_metrics_name_or_not_said():
    larger = "auc val_auc_1 f1_score_0 precision io_u mean_io_u r2_score binary_acc_1 dice true_positives"
    smaller = "loss mae val_mean_squared_error perplexity kl_divergence false_positives_2 categorical_hinge"
    assert {directions.of_name(name) for name in larger.split()} == {"max"}
    assert {directions.of_name(name) for name in smaller.split()} == {"min"}
    unknown = (
        "temperature sparsity faucet accuracy_gap neg_mean_squared_error lossless feature_map mine"
    )
    assert {directions.of_name(name) for name in unknown.split()} == {None}


def test_every_metric_and_loss_of_keras_is_in_the_table():
    neutral = "Mean MeanMetricWrapper MeanTensor Metric Sum Reduction deserialize get serialize"
    for module in (K.metrics, K.losses):
        names = [n for n in dir(module) if callable(getattr(module, n)) and n[0] != "_"]
        unknown = [n for n in names if directions._of_keras(getattr(module, n)) is None]
        assert len(names) > 40 and set(unknown) <= set(neutral.split())


class _Precise(K.metrics.Precision):
    """A metric of a class derived from Keras's."""


class _Own(K.metrics.Mean):
    """A metric that says itself what is better."""

    direction = "min"


def _cosine(y, predicted):
    return tf.reduce_sum(y * predicted, -1)


@pytest.mark.parametrize(
    ("metric", "end"),
    [
        (K.metrics.AUC(name="loss"), "max"),
        (K.metrics.MeanSquaredError(name="accuracy"), "min"),
        (K.metrics.CosineSimilarity(), "max"),
        (K.metrics.MeanMetricWrapper(K.losses.cosine_similarity), "min"),
        (K.metrics.MeanMetricWrapper(K.metrics.binary_accuracy, "mine"), "max"),
        (K.metrics.MeanMetricWrapper(_cosine, "cosine"), None),
        (_Precise(name="mine"), "max"),
        (_Own(name="accuracy"), "min"),
        (K.metrics.Mean(name="mine"), None),
    ],
)
def test_the_class_or_the_function_of_a_metric_decides(metric, end):
    assert directions.of_metric(metric) == end


def test_a_report_says_the_best_of_a_metric_that_the_model_or_the_recipe_knows(tmp_path):
    x = np.random.default_rng(0).normal(size=[16, 3]).astype("float32")
    y = (x[:, :1] > 0).astype("float32")
    core = K.Sequential([K.layers.Dense(1, "sigmoid", input_shape=(3,))])
    model = LargeBatchModel.from_model(core)
    metrics = [K.metrics.AUC(name="mine"), K.metrics.MeanSquaredError(name="other"), "mae"]
    model.compile("sgd", "mse", metrics=metrics)
    run = RunDirectory.create(tmp_path / "run", {"seed": 0})
    model.fit(x, y, batch_size=16, epochs=2, verbose=0, callbacks=[RunLog(run, verbose=0)])
    assert run.directions_json.read_text().count(":max") == 1
    ends = [run.history.direction(name) for name in ("val_mine", "other", "mae", "unknown")]
    assert ends == ["max", "min", "min", None]
    recipe = RunDirectory.create(tmp_path / "recipe", {"directions": ("mine:min", "up")})
    recipe.write_directions(["mine:max"])  # the recipe has the last word
    for epoch, value in enumerate([0.5, 0.25, 0.75], 1):
        recipe.metrics.append({"epoch": epoch, "val_mine": value})
    text = report.write(recipe).read_text()
    assert "Best validation mine" in text and "best 0.25, epoch 2" in text
    (unknown, *_) = tiles(History([{"val_accuracy_gap": 0.5}]), {}, {})
    assert unknown.name == "Final validation accuracy gap"
