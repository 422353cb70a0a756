"""Techniques that change what an update consists of: two ranks make the update of one."""

from __future__ import annotations

import horovod.tensorflow.keras as hvd
import numpy as np
import pytest
import tensorflow as tf

from tests.ranks.twins import K, X, Y, alone, check, close, identical_on_ranks, large
from tflbt import FGSM
from tflbt.callbacks import TimeAccount
from tflbt.data import BatchAugmentation
from tflbt.data.sample_seeds import uniform_integers
from tflbt.training import (
    ActivationNoise,
    AugmentationScale,
    GradientNoise,
    GradientNorm,
    LabelNoise,
    NoiseScale,
    Rule,
    SmallLossDiscarding,
    Strides,
    TargetNoise,
    WeightNoise,
)
from tflbt.training.keras_internals import concrete_functions


def test_adversarial_samples():
    """16 + 14 samples an update: the last one's adversarial samples are spread over what is left.

    In one process there are other sub-batches; the same samples are adversarial.
    """
    options = {
        "adversarial": FGSM(0.3, 0.2, valid_range=None),
        "shuffle": True,
        "seed": 3,
    }
    together, _ = large(K.optimizers.SGD(0.1), callbacks=[TimeAccount()], **options)
    reference, _ = large(alone(K.optimizers.SGD(0.1)), sub_batch_size=16, **options)
    check((together, together.history.history), (reference, reference.history.history))
    off, _ = large(K.optimizers.SGD(0.1), shuffle=True, seed=3)
    assert not np.allclose(off.get_weights()[0], together.get_weights()[0], atol=1e-3)
    seconds = together.update_state.seconds.numpy()
    assert (seconds > 0).all(), seconds


def test_ranks_with_other_adversarial_samples_say_so_before_they_train(rank):
    with pytest.raises(ValueError, match="The ranks disagree about adversarial"):
        large(K.optimizers.SGD(0.1), adversarial=FGSM(0.1 * (1 + rank)))


def noisy(x, seeds):
    return x + tf.cast(uniform_integers(seeds, 0, 3)[:, None] - 1, x.dtype) / 4


def test_batch_augmentation():
    options = {"batch_size": 32, "transform": noisy}
    wanted = large(
        alone(K.optimizers.SGD(0.1)),
        sub_batch_size=32,
        batch_augmentation=BatchAugmentation(4),
        **options,
    )
    for placement, sub_batch_size in (("sub_batch", 8), ("rank", 2), ("ranks", 4)):
        trained = large(
            K.optimizers.SGD(0.1),
            sub_batch_size=sub_batch_size,
            batch_augmentation=BatchAugmentation(4, placement),
            **options,
        )
        check(trained, wanted)


def unit():
    inputs = K.Input([5])
    return K.Model(inputs, K.layers.Dense(1, use_bias=False, kernel_initializer="ones")(inputs))


@pytest.fixture
def equal_samples():
    """Samples of which many are equal, and so their losses."""
    x, target = X.copy(), Y[:, :1].copy()
    x[5:12], target[5:12] = x[4], target[4]
    return x, target


def test_discarding_by_the_losses_of_the_whole_update(equal_samples):
    """Updates of 16 + 14 samples, in sub-batches on two ranks, discard what NumPy does."""
    x, target = equal_samples
    w = np.ones(5)
    for _ in range(2):
        for first in (0, 16):
            part = np.arange(first, min(first + 16, 30))
            losses = ((x[part] @ w - target[part, 0]) ** 2).astype("float32")
            gone = np.argsort(losses, kind="stable")[: int(0.4 * len(part))]
            stay = np.delete(part, gone)
            w = w - 0.1 * 2 * x[stay].T @ (x[stay] @ w - target[stay, 0]) / len(stay)

    for sub_batch_size in (2, 4, 8):
        trained, history = large(
            K.optimizers.SGD(0.1), unit(), metrics=(), data=equal_samples, epochs=2,
            sub_batch_size=sub_batch_size, small_loss=SmallLossDiscarding(0.4, None, "update"),
        )  # fmt: skip
        np.testing.assert_allclose(trained.get_weights()[0][:, 0], w, atol=1e-5)
        identical_on_ranks([*trained.get_weights(), *history.values()], "update")
        assert trained.samples_seen == 60


def test_discarding_within_sub_batches(equal_samples):
    options = {"metrics": (), "data": equal_samples, "epochs": 2, "sub_batch_size": 4}
    several, _ = large(
        K.optimizers.SGD(0.1), unit(), small_loss=SmallLossDiscarding(0.5), **options
    )
    identical_on_ranks(several.get_weights(), "sub_batch")
    single, _ = large(
        alone(K.optimizers.SGD(0.1)), unit(), small_loss=SmallLossDiscarding(0.5), **options
    )
    close(several.get_weights(), single.get_weights())


def test_discarding_nothing(equal_samples):
    options = {"metrics": (), "data": equal_samples, "epochs": 2, "sub_batch_size": 4}
    nothing = SmallLossDiscarding(0.0, None, "update")
    off, _ = large(K.optimizers.SGD(0.1), unit(), small_loss=nothing, **options)
    without, _ = large(K.optimizers.SGD(0.1), unit(), **options)
    np.testing.assert_array_equal(off.get_weights()[0], without.get_weights()[0])


class Statistics(Rule):
    """The mean over sub-batches of 2 samples of |gradient|^2, and that of the update."""

    def start(self, model, spec):
        super().start(model, spec)
        self.here, self.of_parts, self.of_updates = (
            tf.Variable(0.0, trainable=False) for _ in range(3)
        )

    def observe(self, gradients, samples):
        self.here.assign_add(samples * tf.linalg.global_norm(gradients) ** 2)

    def scalars(self):
        return [tf.convert_to_tensor(self.here)]

    def observe_update(self, gradients, samples, scalars):
        self.of_parts.assign_add(scalars[0] / samples)
        self.of_updates.assign_add(tf.linalg.global_norm(gradients) ** 2)
        self.here.assign(0.0)


@pytest.mark.parametrize("compression", [None, hvd.Compression.fp16])
def test_a_rules_scalars_are_summed_over_ranks_in_the_one_reduction(compression):
    """Fewer sub-batches on each rank, but the same ones: the statistics are those of one process."""
    together, lonely = Statistics(), Statistics()
    measures = [[kind() for kind in (NoiseScale, GradientNorm, Strides)] for _ in range(2)]
    options = {"compression": compression} if compression else {}
    optimizer = hvd.DistributedOptimizer(K.optimizers.SGD(0.1), **options)
    model, _ = large(optimizer, rules=[together, *measures[0]])
    large(alone(K.optimizers.SGD(0.1)), rules=[lonely, *measures[1]])
    for mine, other in zip(*measures):
        found, wanted = mine.columns(0), other.columns(0)
        assert found.keys() == wanted.keys() and len(found) > 0
        for name, value in wanted.items():
            assert found[name] == pytest.approx(value, rel=1e-1 if compression else 1e-4), name
        identical_on_ranks([list(found.values())], f"{mine.name}{compression}")
    for found, wanted in zip(together.variables, lonely.variables):
        assert float(found) == pytest.approx(float(wanted), rel=1e-2 if compression else 1e-5)
    assert float(together.of_parts) > float(together.of_updates) > 0
    identical_on_ranks([v.numpy() for v in together.variables], f"statistics{compression}")
    (trace,) = concrete_functions(model.train_tf_function)
    definition = trace.graph.as_graph_def()
    nodes = [node for body in definition.library.function for node in body.node_def]
    operations = [n.op for n in (*definition.node, *nodes) if n.op.startswith("Horovod")]
    assert operations == ["HorovodGroupedAllreduce"] * (2 if compression else 1)


def test_noise_is_the_same_on_any_number_of_ranks():
    loss = K.losses.SparseCategoricalCrossentropy(from_logits=True)
    usual = {"loss": loss, "metrics": ["accuracy"], "data": (X, (Y[:, 0] > 0).astype(int))}

    def noise():
        return [
            ActivationNoise(0.1),
            GradientNoise(0.1),
            WeightNoise(0.2, relative=True),
            LabelNoise(0.3),
        ]

    together = large(K.optimizers.SGD(0.1), rules=noise(), **usual)
    check(together, large(alone(K.optimizers.SGD(0.1)), rules=noise(), **usual))


def test_noise_on_targets_is_the_same_on_any_number_of_ranks():
    together, apart = (
        large(optimizer, rules=[TargetNoise(0.5)])
        for optimizer in (K.optimizers.SGD(0.1), alone(K.optimizers.SGD(0.1)))
    )
    check(together, apart)


def test_instances_on_two_ranks_are_as_long_as_those_of_one_after_the_other():
    options = {"batch_size": 8, "sub_batch_size": 4, "transform": noisy, "epochs": 1}
    options["batch_augmentation"] = BatchAugmentation(2, "ranks")
    rules = [AugmentationScale(apply=True) for _ in range(2)]
    together = large(K.optimizers.SGD(0.1), rules=[rules[0]], **options)
    check(together, large(alone(K.optimizers.SGD(0.1)), rules=[rules[1]], **options))
    found, wanted = (rule.columns(0)["augmentation_scale"] for rule in rules)
    assert found == pytest.approx(wanted, rel=1e-5) and found > 1
