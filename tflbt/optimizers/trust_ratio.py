"""The trust ratio of layer-wise optimizers: the only place that computes weight norm / update norm."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

import tensorflow as tf

BOUND_ON = ("ratio", "weight_norm")

# What may be excluded by its role: "bias" and "norm" in an exclusion list mean these variables, recognised by the
# last part of their path, as Keras layers name them.
ROLES = {"bias": r"(^|/)[^/]*bias(:\d+)?$", "norm": r"(^|/)(gamma|beta)(:\d+)?$"}


def norm(tensor: tf.Tensor) -> tf.Tensor:
    """The l2 norm of a whole variable or gradient, a float32 scalar whatever the dtype.

    float16 would overflow from a norm of 256 on. `tf.nn.l2_loss` reads the tensor once.
    """
    return tf.sqrt(2.0 * tf.nn.l2_loss(tf.cast(tensor, tf.float32)))


def trust_ratio(
    weight_norm: tf.Tensor,
    update_norm: tf.Tensor,
    bounds: tuple[float, float] | None = None,
    bound_on: str = "ratio",
) -> tf.Tensor:
    r"""How far a layer may move for each unit of its update: $\|w\| / \|u\|$, bounded.

    Where either norm is zero (or the quotient overflows) the ratio is 1, *before* the trust coefficient: a
    zero-initialised tensor then moves by coefficient * |u|, like its neighbours, and not 1 / coefficient times as
    far, as in libraries that put 1 in the place of coefficient * ratio. An update whose norm is infinite has the
    ratio 0: it moves nothing.

    The bounds, (lowest, highest), clip the "ratio" (LARC, the first LAMB, DeepSpeed) or the "weight_norm" (the function
    phi of LAMB's paper; a lowest norm above 0 also takes the place of a zero one).
    """
    if bounds is not None and bound_on == "weight_norm":
        weight_norm = tf.clip_by_value(weight_norm, bounds[0], bounds[1])
    ratio = _quotient(weight_norm, update_norm)
    if bounds is not None and bound_on == "ratio":
        ratio = tf.clip_by_value(ratio, bounds[0], bounds[1])
    return ratio


def is_bounded(
    weight_norm: tf.Tensor,
    update_norm: tf.Tensor,
    bounds: tuple[float, float],
    bound_on: str = "ratio",
) -> tf.Tensor:
    """Whether the bounds change the ratio of these norms: a boolean scalar."""
    ratio = _quotient(weight_norm, update_norm)
    if bound_on == "weight_norm":  # a bounded norm over an update of 0 or infinity is the same
        return trust_ratio(weight_norm, update_norm, bounds, bound_on) != ratio
    return (ratio < bounds[0]) | (ratio > bounds[1])


def _quotient(weight_norm: tf.Tensor, update_norm: tf.Tensor) -> tf.Tensor:
    """The ratio without bounds; 1 where a norm is zero or the quotient is not finite."""
    ratio = weight_norm / update_norm
    usable = (weight_norm > 0) & (update_norm > 0) & tf.math.is_finite(ratio)
    return tf.where(usable, ratio, tf.ones_like(ratio))


def check_bounds(
    bounds: Sequence[float] | None, name: str = "ratio_bounds"
) -> tuple[float, float] | None:
    """Returns the bounds as a pair of floats, unless they are None; checks 0 <= lowest <= highest."""
    if bounds is None:
        return None
    try:
        lowest, highest = (float(bound) for bound in bounds)
        good = 0 <= lowest <= highest and lowest < math.inf  # NaN compares false
    except (TypeError, ValueError):
        good = False
    if not good:
        raise ValueError(
            f"{name}={bounds!r} must be None or (lowest, highest) with 0 <= lowest <= highest, lowest finite."
        )
    return lowest, highest


def check_patterns(patterns: Iterable[str], name: str) -> tuple[str, ...]:
    """Returns regular expressions (or roles) for variables as a tuple; refuses a bare string, a common slip."""
    if isinstance(patterns, str):
        raise ValueError(
            f"{name}={patterns!r} must be a list of regular expressions, such as [{patterns!r}]."
        )
    for pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise ValueError(
                f"{name} holds {pattern!r}, which is not a regular expression: {error}."
            ) from error
    return tuple(patterns)


def matches(patterns: Sequence[str], variable: tf.Variable) -> bool:
    """Whether a variable's path (such as `conv1/kernel:0`) holds a match of any of the patterns or roles (`ROLES`)."""
    return any(re.search(ROLES.get(pattern, pattern), variable.name) for pattern in patterns)


def unmatched(patterns: Sequence[str], variables: Sequence[tf.Variable]) -> list[str]:
    """The regular expressions that match no variable; roles may well have none."""
    return [
        pattern
        for pattern in patterns
        if pattern not in ROLES and not any(matches((pattern,), v) for v in variables)
    ]
