"""A rule that uses every hook, against NumPy; two rules together; and what a rule may not be."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.callbacks import Checkpoint, RunLog
from tflbt.data import BatchAugmentation
from tflbt.training import FGSM, LargeBatchModel, Rule, SmallLossDiscarding

K = tf.keras
RATE = 0.1


def linear(**compiled) -> LargeBatchModel:
    """One linear unit with weights of one; the squared error of sample i is (x_i . w - y_i)^2."""
    inputs = K.Input([5])
    unit = K.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = LargeBatchModel(inputs, unit(inputs))
    model.compile(K.optimizers.SGD(RATE), "mse", **compiled)
    return model


def train(model, samples, **arguments):
    usual = {"batch_size": 16, "sub_batch_size": 4, "shuffle": False, "verbose": 0}
    model.fit(samples[0], samples[1][:, :1], **{**usual, **arguments})
    return model.get_weights()[0][:, 0]


class Everything(Rule):
    """Shifts inputs by the sub-batch's number, drops losses above 4, and halves the gradient."""

    def __init__(self) -> None:
        self.spec = self.epochs = None

    def start(self, model, spec):
        super().start(model, spec)
        self.spec, self.epochs = spec, []
        width = model.trainable_variables[0].shape
        self.squares = tf.Variable(0.0, trainable=False)  # of this update
        self.all_squares = tf.Variable(0.0, trainable=False)
        self.means = [tf.Variable(tf.zeros(width), trainable=False)]
        self.steps = tf.Variable(0.0, trainable=False)
        self.before = tf.Variable(tf.zeros(width), trainable=False)

    def begin_epoch(self, epoch):
        self.epochs.append(epoch)

    def prepare(self, step, data):
        x, y = data
        return x + 0.1 * tf.cast(step, x.dtype), y

    def choose(self, losses):
        return losses < 4

    def observe(self, gradients, samples):
        self.squares.assign_add(samples * tf.reduce_sum(gradients[0] ** 2))

    def scalars(self):
        return [tf.convert_to_tensor(self.squares), tf.constant(1)]

    def observe_update(self, gradients, samples, scalars):
        self.all_squares.assign_add(scalars[0] / samples / scalars[1])
        self.squares.assign(0.0)
        self.means[0].assign_add(gradients[0])
        self.before.assign(self.model.trainable_variables[0])

    def change_gradients(self, gradients):
        return [gradient / 2 for gradient in gradients]

    def after_update(self):
        self.steps.assign_add(tf.norm(self.model.trainable_variables[0] - self.before))

    def columns(self, epoch):
        return {"step_length": float(self.steps), "of_epoch": epoch}


def by_hand(samples, scope):
    """NumPy: weights, and what the rule adds up, after an epoch of updates of 16 and 14 in sub-batches of 4."""
    x, y, w = samples[0].astype("float64"), samples[1][:, 0], np.ones(5)
    squares, means, steps = 0.0, np.zeros(5), 0.0
    for first in (0, 16):
        parts = [
            np.arange(i, min(i + 4, first + 16, 30)) for i in range(first, min(first + 16, 30), 4)
        ]
        gradients, counts = [], []
        for step, part in enumerate(parts):
            moved = x[part] + 0.1 * step
            error = moved @ w - y[part]
            stay = error**2 < 4
            counts.append(stay.sum())
            gradients.append(2 * moved[stay].T @ error[stay])
        total = np.sum(gradients, axis=0) / np.sum(counts)
        of_parts = [n * np.sum((g / max(n, 1)) ** 2) for g, n in zip(gradients, counts)]
        squares += np.sum(of_parts) / np.sum(counts)
        means += total
        steps += RATE / 2 * np.linalg.norm(total)
        w = w - RATE / 2 * total
    return w, squares, means, steps


@pytest.mark.parametrize("scope", ["sub_batch", "update"])
@pytest.mark.parametrize("compiled", [{}, {"run_eagerly": True}, {"jit_compile": True}], ids=str)
def test_every_hook_is_called_as_numpy_calls_it(samples, tmp_path, scope, compiled):
    model, rule = linear(**compiled), Everything()
    rule.scope = scope
    log = RunLog(tmp_path, verbose=0)
    found = train(model, samples, rules=[rule], callbacks=[log])
    w, squares, means, steps = by_hand(samples, scope)
    np.testing.assert_allclose(found, w, atol=1e-6)
    assert float(rule.all_squares) == pytest.approx(squares, rel=1e-5)
    np.testing.assert_allclose(rule.means[0].numpy()[:, 0], means, rtol=1e-5)
    assert float(rule.steps) == pytest.approx(steps, rel=1e-5)
    assert rule.epochs == [0] and rule.spec[0].shape[1:] == [5]
    (row,) = log.run_directory.metrics.read()
    assert row["step_length"] == pytest.approx(steps, rel=1e-5) and row["of_epoch"] == 0


class Watch(Rule):
    """Observes, and changes nothing."""

    def start(self, model, spec):
        super().start(model, spec)
        self.norm = tf.Variable(0.0, trainable=False)
        self.parts = tf.Variable(0.0, trainable=False)

    def observe(self, gradients, samples):
        self.parts.assign_add(tf.linalg.global_norm(gradients))

    def observe_update(self, gradients, samples, scalars):
        self.norm.assign_add(tf.linalg.global_norm(gradients))


@pytest.mark.parametrize("scope", [None, "sub_batch", "update"])
def test_rules_together_are_each_as_alone_to_the_bit(samples, scope):
    def techniques():
        discarding = {"small_loss": SmallLossDiscarding(0.3, None, scope)} if scope else {}
        return {"adversarial": FGSM(0.5, 0.1, None), **discarding}

    alone = train(linear(), samples, epochs=2, **techniques())
    watch = Watch()
    watched = train(linear(), samples, epochs=2, rules=[watch], **techniques())
    np.testing.assert_array_equal(watched, alone)
    assert float(watch.norm) > 0 and float(watch.parts) > float(watch.norm)
    if scope == "update":  # how rules are gathered does not depend on what they are
        as_rules = train(linear(), samples, epochs=2, rules=[*techniques().values()])
        np.testing.assert_array_equal(as_rules, alone)


@pytest.mark.parametrize("scope", ["sub_batch", "update"])
def test_discarding_compares_the_losses_of_adversarial_samples(samples, scope):
    """Of one update, in NumPy: every second sample is moved uphill, then the smallest losses go."""
    x, y, w = samples[0][:16].astype("float64"), samples[1][:16, 0], np.ones(5)
    x[1::2] += 0.1 * np.sign((x[1::2] @ w - y[1::2])[:, None] * w)
    losses = (x @ w - y) ** 2
    compared = np.arange(16).reshape([-1, 4] if scope == "sub_batch" else [1, 16])
    gone = [p[np.argsort(losses[p], kind="stable")[: int(0.5 * len(p))]] for p in compared]
    stay = np.setdiff1d(np.arange(16), np.concatenate(gone))
    wanted = w - RATE * 2 * x[stay].T @ (x[stay] @ w - y[stay]) / len(stay)
    techniques = [FGSM(0.5, 0.1, None), SmallLossDiscarding(0.5, None, scope)]
    found = train(linear(), [part[:16] for part in samples], rules=techniques)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_a_rule_observes_unscaled_gradients_under_loss_scaling(samples):
    watch, plain = Watch(), Watch()
    train(linear(), samples, rules=[plain])
    model = linear()
    scaled = K.mixed_precision.LossScaleOptimizer(
        K.optimizers.SGD(RATE), dynamic=False, initial_scale=128
    )
    model.compile(scaled, "mse")
    train(model, samples, rules=[watch])
    assert float(watch.norm) == pytest.approx(float(plain.norm), rel=1e-5)
    assert float(watch.parts) == pytest.approx(float(plain.parts), rel=1e-5)


class Count(Rule):
    """Counts updates, and keeps the count from one fit to the next."""

    count = None

    def start(self, model, spec):
        super().start(model, spec)
        if self.count is None:
            self.count = tf.Variable(0, trainable=False)

    def after_update(self):
        self.count.assign_add(1)


def test_variables_are_in_the_checkpoint_and_the_second_fit_traces_nothing(samples, tmp_path):
    rule, checkpoint = Count(), Checkpoint(tmp_path)
    model = linear()
    train(model, samples, rules=[rule], callbacks=[checkpoint])
    train(model, samples, rules=[rule])
    assert int(rule.count) == 4
    assert model.train_tf_function.experimental_get_tracing_count() == 1
    assert model.count_params() == 5  # they are no weights
    resumed, other = Count(), linear()
    assert Checkpoint(tmp_path).resume(other) == 1
    train(other, samples, rules=[resumed], initial_epoch=1, epochs=2)
    assert int(resumed.count) == 4
    train(other, samples, rules=[resumed])  # a checkpoint is restored once
    assert int(resumed.count) == 6
    with_fgsm = linear()
    Checkpoint(tmp_path).resume(with_fgsm)
    train(with_fgsm, samples, adversarial=FGSM(0.5), initial_epoch=1, epochs=2)  # not in it
    assert with_fgsm.adversarial_share == 0.5


def test_the_adversarial_share_resumes(samples, tmp_path):
    def halve(epoch, logs):
        model.adversarial_share /= 2

    model, note = linear(), K.callbacks.LambdaCallback(on_epoch_end=halve)
    fgsm = {"adversarial": FGSM(0.5)}
    train(model, samples, **fgsm, callbacks=[note, Checkpoint(tmp_path)])
    model = linear()
    Checkpoint(tmp_path).resume(model)
    train(model, samples, **fgsm, initial_epoch=1, epochs=2)
    assert model.adversarial_share == 0.25


def test_a_checkpoint_of_other_variables_is_refused(samples, tmp_path):
    class Wider(Rule):
        name = "Count"

        def start(self, model, spec):
            super().start(model, spec)
            self.count = [tf.Variable([0, 0], trainable=False)]

    train(linear(), samples, rules=[Count()], callbacks=[Checkpoint(tmp_path)])
    model = linear()
    Checkpoint(tmp_path).resume(model)
    with pytest.raises(
        ValueError, match=r"variables of Count have the shapes \[\(\)\], now they have"
    ):
        train(model, samples, rules=[Wider()], initial_epoch=1, epochs=2)


def test_one_rule_may_train_two_models_in_turn(samples):
    rule = FGSM(0.5, 0.1, None)
    models = [linear(), linear()]
    for model in (*models, models[0]):
        found = train(model, samples, adversarial=rule)
    twice = train(linear(), samples, epochs=2, adversarial=FGSM(0.5, 0.1, None))
    np.testing.assert_array_equal(found, twice)


def test_what_changes_nothing_takes_no_part(samples):
    model = linear()
    train(model, samples, rules=[SmallLossDiscarding(0.0), BatchAugmentation(1)])
    assert list(model.rules) == [] and model.small_loss is None
    train(model, samples, sub_batch_size=8, rules=[BatchAugmentation(2)])
    assert model.batch_augmentation.instances == 2 and model.samples_seen == 30 + 60


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ([Count(), Count()], "rules holds Count more than once"),
        ([Everything(), SmallLossDiscarding()], "Everything and small_loss, which both choose"),
    ],
)
def test_rules_that_do_not_go_together_are_refused(samples, rules, says):
    with pytest.raises(ValueError, match=says):
        train(linear(), samples, rules=rules)


RAGGED = (tf.RaggedTensorSpec([None, None]), tf.TensorSpec([None, 1]))
SPARSE = ((tf.TensorSpec([None, 3]), tf.SparseTensorSpec([None, 3])), tf.TensorSpec([None, 1]))


@pytest.mark.parametrize("spec", [RAGGED, SPARSE], ids=["ragged", "sparse"])
def test_what_must_be_dense_is_refused_by_name(spec):
    for rule in FGSM(), SmallLossDiscarding(scope="update"):
        with pytest.raises(ValueError, match=f"{rule.name}=.* must be dense.* a (Ragged|Sparse)T"):
            rule.start(None, spec)
    SmallLossDiscarding().start(None, spec)
