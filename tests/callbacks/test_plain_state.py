"""What a checkpoint can keep of an attribute comes back as it was, through JSON; what has changed is noticed."""

from __future__ import annotations

import collections
import enum
import json

import numpy as np
import pytest
import tensorflow as tf

from tflbt.callbacks.states.plain_state import can_be_kept, mark, pack, same, unpack
from tflbt.training.checkpoint import _with_arrays, _without_arrays

VALUES = [
    *(None, True, 3, 2**70, 0.1, float("inf"), "text", [], {}),
    *(np.float32(0.1), np.int64(7), np.bool_(True), np.array(2.5), np.arange(6).reshape(2, 3)),
    *((1, "a"), [1, [2.0, (None,)]], {"a": 1, 2: [3.0]}, {1, 2}, frozenset([1]), np.array(["a"])),
    collections.deque([1, 2], maxlen=2),
]


def through_a_file(packed):
    """As a checkpoint writes and reads it."""
    arrays = {}
    return _with_arrays(json.loads(json.dumps(_without_arrays(packed, arrays))), arrays)


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_come_back_with_their_types(value):
    again = unpack(through_a_file(pack(value)))
    assert type(again) is type(value)
    np.testing.assert_equal(again, value)
    assert same(mark(value), mark(again))


def test_variables_generators_and_bfloat16_come_back():
    variable, rng = tf.Variable([1.0, 2.0]), np.random.default_rng(1)
    half = np.asarray(tf.constant([1.5], tf.bfloat16))
    packed = through_a_file(pack([variable, rng, half, tf.constant(3)]))
    wanted = rng.normal()
    live = tf.Variable([0.0, 0.0])
    again = unpack(packed, [live, None])
    assert again[0] is live and live.numpy().tolist() == [1.0, 2.0]
    assert again[1].normal() == wanted
    assert again[2].dtype == half.dtype and float(again[2][0]) == 1.5
    assert int(again[3]) == 3 and isinstance(unpack(packed)[0], tf.Variable)


def test_objects_with_variables_keep_those_that_are_not_the_models():
    metric, other = tf.keras.metrics.Mean(), tf.keras.metrics.Mean()
    metric.update_state(3.0)
    unpack(through_a_file(pack(metric)), other)
    assert float(other.result()) == 3.0
    assert pack(metric, frozenset(map(id, metric.variables))) == {"variables": []}
    with pytest.raises(ValueError, match="0 variables, where there were 2"):
        unpack(pack(metric), tf.Module())


def test_collections_that_others_share_are_filled_in_place():
    counts = collections.defaultdict(int)
    shared = [[1], {"a": [2]}, collections.deque(maxlen=3), counts, {5}]
    inner = list(shared)
    unpack(pack([[9, 8], {"a": [7], "b": 0}, collections.deque([1, 2]), {"x": 1}, {6}]), shared)
    assert all(a is b for a, b in zip(inner, shared))
    assert shared == [[9, 8], {"a": [7], "b": 0}, collections.deque([1, 2]), {"x": 1}, {6}]
    counts["new"] += 1


class Phase(enum.IntEnum):
    BEGIN = 1
    END = 2


def test_a_member_of_an_enum_needs_the_enum():
    packed = through_a_file(pack({"phase": Phase.END}))
    assert unpack(packed, {"phase": Phase.BEGIN})["phase"] is Phase.END
    with pytest.raises(ValueError, match="it was the member END"):
        unpack(packed)


class Thing:
    def __init__(self):
        self.count = 0


@pytest.mark.parametrize("change", ["array", "nested", "object", "variable", "identity"])
def test_changes_in_place_are_noticed(change):
    thing, array, variable = Thing(), np.zeros(4), tf.Variable(0.0)
    value = {"array": array, "nested": [{"a": array}], "object": thing, "variable": variable}
    value = value.get(change, open)
    before = mark(value)
    assert same(before, mark(value)) and can_be_kept(before) == (
        change in ("array", "nested", "variable")
    )
    array[1], thing.count = 1, 1
    variable.assign(1.0)
    assert not same(before, mark(print if change == "identity" else value))


def test_a_large_array_is_looked_at_in_places():
    array = np.zeros(2**26 // 8 + 100)
    before = mark(array)
    array *= 1.0
    assert same(before, mark(array))
    array += 1
    assert not same(before, mark(array))


@pytest.mark.parametrize(
    "value",
    [open, Thing(), np.array([Thing()]), [print], {1: {2: Thing()}}],
    ids=["function", "object", "array", "list", "dict"],
)
def test_other_values_cannot_be_kept(value):
    with pytest.raises(TypeError, match="cannot be kept"):
        pack(value)
