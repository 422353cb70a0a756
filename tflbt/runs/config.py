"""The configuration of a run as plain values: written as JSON, flattened, and compared with another."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

_MISSING = "(not set)"
# Keys, and beginnings of keys, that change what a run keeps, measures or waits for, and nothing that it computes.
_BESIDE = (
    *("stall_limit", "checkpoint.", "stability.", "margin.", "distance.", "curvature."),
    *("noise_scale.", "gradient_norm.", "strides.", "signal_to_noise.", "metrics", "directions"),
)


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns a nested dictionary as one level of dotted keys; an empty dictionary inside stays as a value."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def as_plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a dictionary or `ml_collections.ConfigDict` as JSON would read it back, with tuples as lists."""
    config = config.to_dict() if hasattr(config, "to_dict") else config
    for name, value in flatten(config).items():
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"config.{name} = {value!r} cannot be kept in config.json; "
                "give a number, text, True, False, None or a list of these."
            ) from error
    return json.loads(json.dumps(config))


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], may_differ: Collection[str] = ()
) -> list[str]:
    """Returns one phrase per dotted key that differs between two configurations, except for those in `may_differ`."""
    old, new = ({k: json.dumps(v) for k, v in flatten(c).items()} for c in (before, now))
    return [
        f"{name} was {old.get(name, _MISSING)}, is now {new.get(name, _MISSING)}"
        for name in dict.fromkeys([*old, *new])
        if name not in may_differ and old.get(name) != new.get(name)
    ]


def changes_result(key: str) -> bool:
    """Whether a dotted key of a recipe can change the weights that a run ends with."""
    return not key.startswith(_BESIDE)


def without_numpy(value: Any) -> Any:
    """Returns a NumPy number as Python's, which JSON and CSV can hold; anything else, arrays too, as it is."""
    number = isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0)
    return value.item() if number else value


def to_json(content: Any) -> str:
    """Returns plain values as indented JSON text that ends in a newline."""
    return json.dumps(content, indent=2) + "\n"
