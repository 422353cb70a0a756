"""The dealing of samples: none lost or repeated, no update depends on ranks or sub-batches."""

from __future__ import annotations

import resource

import numpy as np
import pytest
import tensorflow as tf

from tflbt.data.sharding import epoch_order, one_epoch, steps_per_epoch, sub_batches

SPLITS = [(17, 4, 1), (17, 4, 2), (17, 4, 3), (16, 4, 4), (3, 4, 2), (20, 1, 3), (5, 100, 1)]


def _deal(samples, sub_batch_size, size, **options):
    """What all ranks get: [rank][step] arrays of sample numbers."""
    return [
        list(
            sub_batches(
                np.arange(samples), sub_batch_size=sub_batch_size, rank=rank, size=size, **options
            ).as_numpy_iterator()
        )
        for rank in range(size)
    ]


def _in_order(dealt):
    """The samples as the global order has them: step by step, rank by rank."""
    return np.concatenate([part for step in zip(*dealt) for part in step])


@pytest.mark.parametrize(("samples", "sub_batch_size", "size"), SPLITS)
def test_an_epoch_is_exactly_the_permutation(samples, sub_batch_size, size):
    dealt = _deal(samples, sub_batch_size, size, seed=3)
    np.testing.assert_array_equal(_in_order(dealt), epoch_order(samples, 3, 0))


@pytest.mark.parametrize(("samples", "sub_batch_size", "size"), SPLITS)
def test_all_ranks_get_the_same_number_of_sub_batches(samples, sub_batch_size, size):
    steps = -(-samples // sub_batch_size)
    steps = -(-steps // size)
    assert steps_per_epoch(samples, sub_batch_size, size) == steps
    assert [len(parts) for parts in _deal(samples, sub_batch_size, size, epochs=3)] == [
        3 * steps
    ] * size


@pytest.mark.parametrize(
    ("size", "count", "sub_batch_size"), [(1, 1, 12), (2, 3, 2), (3, 2, 2), (4, 3, 1)]
)
def test_an_update_sees_the_same_samples_however_it_is_split(size, count, sub_batch_size):
    dealt = _deal(40, sub_batch_size, size, seed=5)
    order = epoch_order(40, 5, 0)
    for update in range(4):
        parts = [part for ranks in dealt for part in ranks[update * count : (update + 1) * count]]
        seen = np.concatenate(parts)
        assert set(seen) == set(order[update * 12 : (update + 1) * 12])


def test_a_rank_with_nothing_left_gets_empty_sub_batches_of_the_right_shape():
    arrays = (np.zeros([5, 8, 8, 1], np.uint8), np.arange(5))
    last = list(sub_batches(arrays, sub_batch_size=2, rank=1, size=2))[-1]
    assert last[0].shape == (0, 8, 8, 1) and last[0].dtype == tf.uint8
    assert last[1].shape == (0,) and last[1].dtype == tf.int64


def test_without_shuffling_the_order_is_the_given_one_in_every_epoch():
    dealt = _deal(7, 3, 1, shuffle=False, epochs=2)
    assert [part.tolist() for part in dealt[0]] == 2 * [[0, 1, 2], [3, 4, 5], [6]]


def test_epochs_and_seeds_differ_and_iterations_do_not():
    dataset = sub_batches(np.arange(50), sub_batch_size=50, epochs=2, seed=1)
    first, second = dataset.as_numpy_iterator()
    again, _ = dataset.as_numpy_iterator()
    (other,) = _deal(50, 50, 1, seed=2)[0]
    assert (first == again).all()
    assert (first != second).any() and (first != other).any()


def test_starting_at_an_epoch_goes_on_as_the_uninterrupted_run():
    def shifted(features, seeds):
        return features * 10 + tf.cast(seeds[:, 0], tf.int64) % 10

    whole = _deal(11, 4, 2, epochs=4, seed=9, transform=shifted)
    resumed = _deal(11, 4, 2, epochs=4, initial_epoch=2, seed=9, transform=shifted)
    for rank in range(2):
        chosen = whole[rank][2 * steps_per_epoch(11, 4, 2) :]
        assert [part.tolist() for part in resumed[rank]] == [part.tolist() for part in chosen]


def test_a_finished_run_has_nothing_left():
    assert _deal(11, 4, 1, epochs=4, initial_epoch=4) == [[]]


def test_structures_types_and_static_shapes_are_preserved():
    arrays = (
        {"a": np.zeros([6, 2], np.float16), "b": np.arange(6)},
        [np.arange(6.0), np.arange(6)],
    )
    dataset = sub_batches(arrays, sub_batch_size=4)
    features, targets = dataset.element_spec
    assert features["a"] == tf.TensorSpec([None, 2], tf.float16)
    assert features["b"] == tf.TensorSpec([None], tf.int64)
    assert targets == (tf.TensorSpec([None], tf.float64), tf.TensorSpec([None], tf.int64))
    assert dataset.cardinality() == 2


def test_a_dict_is_transformed_as_a_whole_and_a_tuple_in_its_first_part():
    def halved(features, seeds):
        return tf.nest.map_structure(lambda part: part / 2, features)

    whole = next(iter(sub_batches({"x": np.ones(3)}, sub_batch_size=3, transform=halved)))
    first, rest = next(
        iter(sub_batches(({"x": np.ones(3)}, np.ones(3)), sub_batch_size=3, transform=halved))
    )
    assert whole["x"].numpy().tolist() == first["x"].numpy().tolist() == [0.5] * 3
    assert rest.numpy().tolist() == [1.0] * 3


@pytest.mark.parametrize(("sub_batch_size", "size"), [(1, 1), (4, 2), (3, 5)])
def test_a_sample_has_the_same_seeds_wherever_it_is_dealt(sub_batch_size, size):
    def with_seeds(numbers, seeds):
        return tf.concat([numbers[:, None], tf.cast(seeds, tf.int64)], axis=1)

    options = {"seed": 4, "epochs": 2, "transform": with_seeds}
    whole = np.concatenate(_deal(23, 23, 1, **options)[0])
    dealt = _in_order(_deal(23, sub_batch_size, size, **options))
    np.testing.assert_array_equal(dealt, whole)
    assert len(np.unique(whole[:, 1:], axis=0)) == 46  # another draw in the other epoch


def test_one_epoch_is_one_pass_in_order():
    parts = one_epoch(np.arange(5), sub_batch_size=2, rank=0, size=2).as_numpy_iterator()
    assert [part.tolist() for part in parts] == [[0, 1], [4]]


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ((np.zeros(3), np.zeros(4)), {}, "same number"),
        (np.zeros([0, 2]), {}, "at least 1"),
        (np.float32(1), {}, "first dimension"),
        ((np.zeros(3), None), {}, "first dimension"),
        ((), {}, "first dimension"),
        (
            np.zeros(3),
            {"sub_batch_size": 0},
            "^sub_batch_size=0 must be a whole number, at least 1",
        ),
        (
            np.zeros(3),
            {"rank": 2, "size": 2},
            r"^rank=2 must be .* between 0 and 1 \(of size=2 ranks\)",
        ),
        (
            np.zeros(3),
            {"initial_epoch": 2},
            r"^initial_epoch=2 must be .* between 0 and 1 \(epochs\)",
        ),
        (np.zeros(3), {"seed": -1}, "^seed=-1 must be"),
    ],
)
def test_wrong_arguments_are_named(arrays, options, message):
    with pytest.raises(ValueError, match=message):
        sub_batches(arrays, **{"sub_batch_size": 2, **options})


def test_it_copies_no_data_set():
    images = np.zeros([60_000, 32, 32, 3], np.uint8) + np.uint8(1)  # touched: 184 MB resident
    dataset = sub_batches((images, np.arange(60_000)), sub_batch_size=128, epochs=2)
    next(iter(dataset))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seen = sum(int(labels.shape[0]) for _, labels in dataset)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert seen == 120_000
    assert grown < images.nbytes / 3


def test_a_memory_mapped_array_is_read_in_place(tmp_path):
    path = tmp_path / "numbers.npy"
    np.save(path, np.arange(10))
    dataset = sub_batches(np.load(path, mmap_mode="r"), sub_batch_size=4, seed=2)
    np.testing.assert_array_equal(
        np.concatenate(list(dataset.as_numpy_iterator())), epoch_order(10, 2, 0)
    )
