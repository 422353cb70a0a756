"""Which values of a callback's attributes a checkpoint can keep, how it keeps them, and whether they have changed."""

from __future__ import annotations

import enum
import json
import pickle
import zlib
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

# As they are in JSON; subclasses (an Enum that is also an int) would come back as something else.
_SCALARS = (type(None), bool, int, float, str)
_COLLECTIONS: dict[str, Callable] = {
    "tuple": tuple, "set": set, "frozenset": frozenset, "deque": deque,
}  # fmt: skip
# Objects with variables: layers, models, metrics, optimizers, modules of TensorFlow.
OBJECTS_WITH_VARIABLES = (
    tf.Module,
    tf.keras.optimizers.Optimizer,
    tf.keras.optimizers.legacy.Optimizer,
)
_WHOLE = 2**26  # bytes: of larger arrays only that many, evenly spread, are looked at for changes


def pack(value: Any, of_model: frozenset[int] = frozenset()) -> Any:
    """Returns JSON values and arrays from which `unpack` makes the value again.

    Numbers, strings, None, members of an Enum, NumPy arrays and generators, variables and tensors, objects with
    variables, and lists, tuples, sets, deques and dictionaries of these. Variables whose id is in `of_model` are left
    out.

    Raises:
        TypeError: If the value, or one inside it, is of another kind.
    """
    kind = type(value)
    if kind in _SCALARS:
        return value
    if isinstance(value, (np.generic, np.ndarray)):
        return _packed_array(value)
    if isinstance(value, (tf.Variable, tf.Tensor)) and hasattr(value, "numpy"):
        name = "variable" if isinstance(value, tf.Variable) else "tensor"
        return {name: _packed_array(np.asarray(value.numpy()))}
    if isinstance(value, enum.Enum):
        return {"member": value.name}
    if isinstance(value, np.random.Generator):
        return {"generator": pack(value.bit_generator.state)}
    if isinstance(value, OBJECTS_WITH_VARIABLES):
        own = [v for v in _variables(value) if id(v) not in of_model]
        return {"variables": [_packed_array(v.numpy()) for v in own]}
    if isinstance(value, dict):
        return {"dict": [[pack(key), pack(each, of_model)] for key, each in value.items()]}
    items = (
        [pack(each, of_model) for each in value] if kind in (list, *_COLLECTIONS.values()) else None
    )
    if kind is list:
        return items
    if items is None:
        raise TypeError(f"{kind.__name__} cannot be kept")
    return {kind.__name__: items}


def unpack(packed: Any, live: Any = None, of_model: frozenset[int] = frozenset()) -> Any:
    """Returns the value that `pack` was given; `live`, of the same kind, is filled with it in place where it can be."""
    if isinstance(packed, list):
        values = [unpack(each, other, of_model) for each, other in _beside(packed, live)]
        return _filled(live, values) if type(live) is list else values
    if not isinstance(packed, dict):
        return packed
    (kind, content), *_ = packed.items()
    if kind == "scalar":
        return _array(content)[()]
    if kind == "array":
        return _array(content)
    if kind in ("variable", "tensor"):
        return _tensor(kind, unpack(content), live)
    if kind == "member":
        if not isinstance(live, enum.Enum):
            raise ValueError(f"it was the member {content} of an Enum")
        return type(live)[content]
    if kind == "generator":
        state = unpack(content)
        live = live or np.random.Generator(getattr(np.random, state["bit_generator"])())
        live.bit_generator.state = state
        return live
    if kind == "variables":
        own = [v for v in _variables(live) if id(v) not in of_model]
        if len(own) != len(content):
            raise ValueError(f"it has {len(own)} variables, where there were {len(content)}")
        for variable, each in zip(own, content):
            variable.assign(unpack(each))
        return live
    if kind == "dict":
        before = live if isinstance(live, dict) else {}
        keys = [unpack(key) for key, _ in content]
        values = [unpack(each, before.get(key), of_model) for key, (_, each) in zip(keys, content)]
        return (
            _filled(live, dict(zip(keys, values)))
            if isinstance(live, dict)
            else dict(zip(keys, values))
        )
    values = [unpack(each, None, of_model) for each in content]
    return _filled(live, values) if isinstance(live, (set, deque)) else _COLLECTIONS[kind](values)


def mark(value: Any, of_model: frozenset[int] = frozenset()) -> Any:
    """Returns what is equal for the same value, also if it was changed in place; see `same`.

    Of a value that cannot be kept, the object itself and, where it can be pickled, its content.
    """
    try:
        return json.dumps(_without_content(pack(value, of_model)))
    except (TypeError, ValueError, RecursionError):
        return value, _content(value)


def same(mark_before: Any, mark_now: Any) -> bool:
    """Says whether two marks are of the same value."""
    if isinstance(mark_before, tuple) and isinstance(mark_now, tuple):
        return mark_before[0] is mark_now[0] and mark_before[1] == mark_now[1]
    return isinstance(mark_before, str) and isinstance(mark_now, str) and mark_before == mark_now


def can_be_kept(its_mark: Any) -> bool:
    """Says of a mark whether `pack` takes its value."""
    return isinstance(its_mark, str)


def _packed_array(value: Any) -> dict[str, Any]:
    """An array or a scalar of NumPy; types that NumPy's files do not know become float32 and back."""
    array = np.asarray(value)
    if array.dtype.kind == "O":
        raise TypeError("an array of objects cannot be kept")
    content = [array] if array.dtype.kind != "V" else [array.astype("float32"), array.dtype.name]
    return {"scalar" if isinstance(value, np.generic) else "array": content}


def _array(content: list[Any]) -> np.ndarray:
    array, *name = content
    return array.astype(tf.as_dtype(name[0]).as_numpy_dtype) if name else array


def _tensor(kind: str, value: np.ndarray, live: Any) -> Any:
    if kind == "tensor":
        return tf.constant(value)
    if isinstance(live, tf.Variable) and live.shape == value.shape and live.dtype == value.dtype:
        live.assign(value)
        return live
    return tf.Variable(value)


def _variables(value: Any) -> list[tf.Variable]:
    variables = getattr(value, "variables", [])
    return list(variables() if callable(variables) else variables)


def _beside(packed: list[Any], live: Any) -> list[tuple[Any, Any]]:
    """Each with what stands in its place in the living list."""
    others = list(live) if type(live) is list else []
    return list(zip(packed, [*others[: len(packed)], *[None] * (len(packed) - len(others))]))


def _filled(live: Any, values: Any) -> Any:
    """The living collection, which others may share, with these values."""
    live.clear()
    live.update(values) if isinstance(live, (dict, set)) else live.extend(values)
    return live


def _without_content(packed: Any) -> Any:
    """The same with a checksum in place of each array."""
    if isinstance(packed, np.ndarray):
        step = -(-packed.nbytes // _WHOLE) or 1
        content = packed if step == 1 else packed.reshape(-1)[::step]
        return [str(packed.dtype), packed.shape, zlib.crc32(content.tobytes())]
    if isinstance(packed, dict):
        return {key: _without_content(each) for key, each in packed.items()}
    return [_without_content(each) for each in packed] if isinstance(packed, list) else packed


class _Content(pickle.Pickler):
    """Pickles an object's own content, without the models and callbacks that it refers to."""

    def persistent_id(self, value: Any) -> int | None:
        """Stands for what is not the object's own."""
        apart = (*OBJECTS_WITH_VARIABLES, tf.Variable, tf.keras.callbacks.Callback)
        return id(value) if isinstance(value, apart) or tf.is_tensor(value) else None


class _Checksum:
    """A file that keeps the checksum of what is written into it."""

    def __init__(self) -> None:
        self.value, self.length = 0, 0

    def write(self, data: Any) -> None:
        """Takes more data."""
        self.value, self.length = zlib.crc32(data, self.value), self.length + len(data)
        if self.length > _WHOLE:
            raise ValueError("too long to look at")


def _content(value: Any) -> int | None:
    """A checksum of an object's content, None where it cannot be pickled or is large."""
    if callable(value) or isinstance(value, tf.keras.callbacks.Callback):
        return None
    checksum = _Checksum()
    try:
        _Content(checksum).dump(value)
    except Exception:  # noqa: BLE001  files, locks and the like raise what they want
        return None
    return checksum.value
