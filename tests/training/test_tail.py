"""How epochs end: with an update of what is left, or what is left goes on with the next epoch, or is dropped."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf

from tests.updates_seen import K, Updates, model_of, numbers, rows
from tflbt import FGSM, BatchAugmentation, SmallLossDiscarding
from tflbt.callbacks import Checkpoint
from tflbt.control.tail import TAILS, count_updates

N = 10
STREAM = 3 * [*range(N)]
UPDATES = {  # of 4 in three epochs of 10 in order
    "update": 3 * [[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]],
    "carry": [
        [[0, 1, 2, 3], [4, 5, 6, 7]],
        [[0, 1, 8, 9], [2, 3, 4, 5], [6, 7, 8, 9]],
        [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]],
    ],
    "drop": 3 * [[[0, 1, 2, 3], [4, 5, 6, 7]]],
}


@pytest.fixture(scope="module")
def model():
    """One compiled model for all tests that need no state of its own."""
    return model_of(N)


def trained(model, x, y=None, updates=None, **arguments):
    """Trains in order; returns what the updates took, by epoch."""
    updates = updates or Updates()
    options = {"batch_size": 4, "epochs": 3, "shuffle": False, "verbose": 0, **arguments}
    options["callbacks"] = [updates, *options.get("callbacks", ())]
    updates.history = model.fit(x, y, **options).history
    return updates


@pytest.mark.parametrize("sub_batch_size", [1, 2, 4])
@pytest.mark.parametrize("tail", TAILS)
def test_whole_arrays_however_they_are_split(tail, sub_batch_size, model):
    before, seen = int(model.optimizer.iterations), model.samples_seen
    updates = trained(model, *rows(N), sub_batch_size=sub_batch_size, tail=tail)
    assert updates.samples == UPDATES[tail]
    for epoch, (full, rest) in zip(updates.epochs, count_updates(N, 3 * [4], tail)):
        assert [round(1 / share.max()) for share in epoch] == full * [4] + [rest] * (rest > 0)
    assert int(model.optimizer.iterations) - before == sum(map(len, UPDATES[tail]))
    assert model.samples_seen - seen == (24 if tail == "drop" else 30)
    last = -(-N // sub_batch_size) - 1
    assert [batches[-1] for batches in updates.batches] == 3 * [last], (
        "Keras's bars reach their end"
    )


def test_a_sub_batch_may_have_samples_of_two_epochs(model):
    updates = trained(model, *rows(N), sub_batch_size=4, tail="carry")
    assert updates.samples == UPDATES["carry"]


def generator():
    """Sub-batches of two in order, for ever."""
    x, y = rows(N)
    while True:
        for i in range(0, N, 2):
            yield x[i : i + 2], y[i : i + 2]


class Pairs(K.utils.Sequence):
    """The same as a Sequence."""

    def __len__(self):
        """Five."""
        return N // 2

    def __getitem__(self, i):
        """Two samples."""
        x, y = rows(N)
        return x[2 * i : 2 * i + 2], y[2 * i : 2 * i + 2]


def pairs():
    """The same as a data set."""
    return tf.data.Dataset.from_tensor_slices(rows(N)).batch(2)


FORMS = {
    "dataset": (pairs, {}),
    "dataset and its steps": (pairs, {"steps_per_epoch": 5}),
    "repeated": (lambda: pairs().repeat(), {"steps_per_epoch": 5}),
    "generator": (generator, {"steps_per_epoch": 5}),
    "sequence": (Pairs, {}),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("tail", TAILS)
def test_data_sets_count_sub_batches(tail, form, model):
    make, steps = FORMS[form]
    options = {"sub_batch_size": 2, "tail": tail, **steps}
    if (tail, form) == ("carry", "sequence"):
        with pytest.raises(ValueError, match="^tail='carry' cannot go on with a Sequence"):
            trained(model, make(), **options)
        return
    assert trained(model, make(), **options).samples == UPDATES[tail]


@pytest.mark.parametrize("tail", ["carry", "drop"])
def test_data_of_unknown_length_are_refused(tail, model):
    unknown = pairs().filter(lambda x, y: True)
    for x in (unknown, generator()):
        with pytest.raises(ValueError, match=f"^tail='{tail}' needs the number of sub-batches"):
            trained(model, x, sub_batch_size=2, tail=tail)
    known = unknown.apply(tf.data.experimental.assert_cardinality(5))
    assert trained(model, known, sub_batch_size=2, tail=tail).samples == UPDATES[tail]


class Sizes(K.callbacks.Callback):
    """Sets the batch after certain updates, counted from 1, and before certain epochs."""

    def __init__(self, after=(), before=()):
        super().__init__()
        self.after, self.before, self.updates = dict(after), dict(before), 0

    def on_epoch_begin(self, epoch, logs=None):
        """Before an epoch."""
        self.model.batch_size = self.before.get(epoch, self.model.batch_size)

    def on_train_batch_end(self, batch, logs=None):
        """After an update."""
        self.updates += 1
        self.model.batch_size = self.after.get(self.updates, self.model.batch_size)


@pytest.mark.parametrize(
    "changes",
    [
        {"before": {1: 8, 2: 2}},
        {"after": {2: 2, 4: 8}},
        {"after": {1: 10}},
        {"before": {0: 10}, "after": {1: 2}},
    ],
    ids=str,
)
def test_batches_that_change_lose_and_repeat_no_sample(changes, model):
    updates = trained(model, *rows(N), sub_batch_size=2, tail="carry", callbacks=[Sizes(**changes)])
    sizes = [len(samples) for epoch in updates.samples for samples in epoch]
    flat = [number for epoch in updates.samples for samples in epoch for number in samples]
    assert sorted(flat) == sorted(STREAM)
    assert set(sizes[:-1]) <= {2, 4, 8, 10} and sum(sizes) == len(STREAM)
    dropped = trained(model, *rows(N), sub_batch_size=2, tail="drop", callbacks=[Sizes(**changes)])
    for epoch in dropped.samples:
        taken = [number for samples in epoch for number in samples]
        assert taken == [*range(len(taken))], "every epoch begins with its own first samples"


def test_a_batch_that_shrinks_leaves_more_updates_than_sub_batches(model):
    updates = trained(
        model, *rows(N), batch_size=6, sub_batch_size=1, tail="carry",
        callbacks=[Sizes(before={1: 1, 2: 5})],
    )  # fmt: skip
    assert [len(epoch) for epoch in updates.epochs] == [1, 14, 2]
    assert updates.batches[1][-1] == 9 and updates.batches[1] == sorted(updates.batches[1])


def test_a_batch_grown_beyond_an_epoch_is_refused(model):
    for tail in ("carry", "drop"):
        match = f"^tail='{tail}' would leave epochs without an update, .* 12 samples .* has 10:"
        with pytest.raises(ValueError, match=match):
            trained(model, *rows(N), batch_size=12, tail=tail)
        with pytest.raises(ValueError, match=match):
            grown = Sizes(before={1: 12})
            trained(model, *rows(N), sub_batch_size=2, tail=tail, callbacks=[grown])
    with pytest.raises(ValueError, match="^tail='wrap' must be one of"):
        trained(model, *rows(N), tail="wrap")


@pytest.mark.parametrize("placement", ["sub_batch", "rank"])
def test_instances_are_carried_over_together(placement):
    model = model_of(6)
    updates = trained(
        model, *rows(6), batch_size=8, sub_batch_size=2, tail="carry", epochs=2,
        batch_augmentation=BatchAugmentation(2, placement),
    )  # fmt: skip
    assert [[sorted({*s}) for s in epoch] for epoch in updates.samples] == [
        [[0, 1, 2, 3]],
        [[0, 1, 4, 5], [2, 3, 4, 5]],
    ]
    assert model.samples_seen == 24


RULES = {
    "small_loss": {"small_loss": SmallLossDiscarding(0.5)},
    "small_loss of the update": {"small_loss": SmallLossDiscarding(0.5, scope="update")},
    "adversarial": {"adversarial": FGSM(0.5, epsilon=1e-6)},
}


def crossed(tails, others, daily):
    """All pairs; daily are those of one tail, and of each other tail the one that is named."""
    for tail, other in itertools.product(tails, others):
        every_time = tail == "carry" or daily[tail] == other
        yield pytest.param(tail, other, marks=[] if every_time else [pytest.mark.slow])


@pytest.mark.parametrize(
    ("tail", "name"), crossed(("carry", "drop"), RULES, {"drop": "small_loss"})
)
def test_rules_take_part(tail, name):
    rule = RULES[name]
    model = model_of(N)
    updates = trained(model, *rows(N), sub_batch_size=2, tail=tail, **rule)
    counts = [full + (rest > 0) for full, rest in count_updates(N, 3 * [4], tail)]
    assert [len(epoch) for epoch in updates.epochs] == counts
    assert model.samples_seen == (30 if tail == "carry" else 24)


def test_logs_and_validation_are_of_an_epochs_own_updates():
    model = model_of(N, K.optimizers.SGD(0.0))
    x, y = rows(N)
    updates = trained(
        model, x, y, sub_batch_size=2, tail="carry", validation_data=(x[:3], y[:3]),
        steps_per_epoch=None, validation_freq=1,
    )  # fmt: skip
    wanted = [np.mean([n for samples in epoch for n in samples]) for epoch in UPDATES["carry"]]
    np.testing.assert_allclose(updates.history["mae"], wanted, rtol=1e-6)
    np.testing.assert_allclose(updates.history["val_mae"], 3 * [1.0], rtol=1e-6)


SHUFFLED = {"sub_batch_size": 2, "epochs": 5, "shuffle": True, "seed": 3}


@functools.cache
def uninterrupted(tail):
    """The samples of all updates."""
    return trained(model_of(N), *rows(N), tail=tail, **SHUFFLED).samples


@pytest.mark.parametrize(
    ("tail", "resumed"),
    crossed(
        TAILS, ("checkpoint", "backup", "weights"), {"update": "checkpoint", "drop": "weights"}
    ),
)
def test_a_resumed_run_goes_on_where_it_was(tail, resumed, tmp_path):
    options = {"tail": tail, **SHUFFLED}

    class Stops(K.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 3:
                raise KeyboardInterrupt

    def keeper():
        if resumed == "backup":
            return K.callbacks.BackupAndRestore(f"{tmp_path}/backup")
        return Checkpoint(f"{tmp_path}/checkpoints")

    model, found = model_of(N), Updates()
    with pytest.raises(KeyboardInterrupt):
        trained(model, *rows(N), updates=found, callbacks=[keeper(), Stops()], **options)
    last, begin, keep = model_of(N), 0, keeper()
    if resumed == "weights":
        last.set_weights(model.get_weights())
        begin, keep = 3, K.callbacks.Callback()
    elif resumed == "checkpoint":
        begin = keep.resume(last)
    more = trained(last, *rows(N), callbacks=[keep], **{**options, "initial_epoch": begin})
    assert [*found.samples[:3], *more.samples] == uninterrupted(tail)


def test_a_run_whose_batch_grew_resumes_from_a_checkpoint(tmp_path):
    options = {"sub_batch_size": 2, "tail": "carry", "shuffle": True, "seed": 3}
    grows = {"before": {1: 8, 3: 4}}
    wanted = trained(model_of(N), *rows(N), epochs=5, callbacks=[Sizes(**grows)], **options)
    found = []
    for stop in range(1, 6):
        model, checkpoint = model_of(N), Checkpoint(tmp_path)
        begin = checkpoint.resume(model)

        class Stops(K.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None, stop=stop):
                if epoch == stop:
                    raise KeyboardInterrupt

        updates = Updates()
        try:
            trained(
                model, *rows(N), epochs=5, initial_epoch=begin, batch_size=checkpoint.batch_size or 4,
                updates=updates, callbacks=[Sizes(**grows), checkpoint, Stops()], **options,
            )  # fmt: skip
        except KeyboardInterrupt:
            updates.epochs.pop()
        found += updates.samples
    assert found == wanted.samples


def test_a_finished_fit_has_nothing_to_carry_into_the_next(model):
    first = trained(model, *rows(N), tail="carry", sub_batch_size=2)
    more = trained(model, *rows(N), tail="carry", sub_batch_size=2, initial_epoch=3, epochs=4)
    assert first.samples[-1][-1] == [8, 9]
    assert more.samples == [[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]]


def test_a_small_last_update_is_noticed_once(caplog):
    model, y = model_of(N), rows(N)[1]
    x = rows(N)[0]
    trained(model, x, y, batch_size=5)
    trained(model, x, y, batch_size=4, tail="carry")
    assert "last update" not in caplog.text
    for _ in range(2):
        trained(model, x[:9], y[:9], batch_size=4)
    assert caplog.text.count("The last update of an epoch has 1 samples, the others 4") == 1
    unknown = pairs().filter(lambda x, y: tf.reduce_sum(y) < 14)  # 8 samples
    for dataset, batch_size, what in (
        (pairs(), 8, "1 sub-batches, the others 4"),
        (unknown, 6, "2 samples, the others 6"),
    ):
        caplog.clear()
        trained(model_of(N), dataset, batch_size=batch_size, epochs=2)
        assert caplog.text.count(what) == 1, caplog.text


def test_eager_updates_end_epochs_alike():
    for tail in TAILS:
        model = model_of(N)
        model.compile(K.optimizers.SGD(1.0), model.loss, run_eagerly=True)
        assert trained(model, *rows(N), sub_batch_size=2, tail=tail).samples == UPDATES[tail]


def test_numbers_of_a_share():
    assert numbers(np.array([0.25, 0.0, 0.5, 0.25])) == [0, 2, 2, 3]
