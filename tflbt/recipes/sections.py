"""A recipe's sections: each is a name and that class's own constructor arguments, and to build one is to check it."""

from __future__ import annotations

import contextlib
import copy
import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

import ml_collections
import numpy as np
from ml_collections import config_dict

from tflbt import checks
from tflbt.recipes import optimizers, parts
from tflbt.recipes.parts import BY_NAME, KINDS, SECTIONS, SWITCHES, Part, default_keys, find


class Keys(ml_collections.ConfigDict):
    """A ConfigDict that is quick where ConfigDict composes a message for nobody, and goes key by key to be copied."""

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, or the default."""
        return super().get(key, default) if key in self or "." in key else default

    def __setitem__(self, key: str, value: Any) -> None:
        """Sets a key; NumPy's numbers and arrays become Python's numbers and tuples, which a configuration keeps."""
        if isinstance(value, (np.generic, np.ndarray)):
            value = value.item() if value.ndim == 0 else tuple(value.tolist())
        super().__setitem__(key, value)

    def __deepcopy__(self, memo: dict[int, Any]) -> Keys:
        """A copy of all that it holds, as it stands."""
        result = type(self)()
        memo[id(self)] = result
        for name, value in vars(self).items():
            object.__setattr__(result, name, copy.deepcopy(value, memo))
        return result


class Section(Keys):
    """One section; assigning `name` brings the keys of the class of that name, with their defaults.

    Keys of another class of the same kind, which old recipe files set before the name or beside it, wait for that name;
    `build` refuses those that still wait.
    """

    _kind = ""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Takes what ConfigDict does."""
        object.__setattr__(self, "_waiting", {})
        super().__init__(*args, **options)

    def __setitem__(self, key: str, value: Any) -> None:
        """Sets a key; a name brings its class's keys."""
        if key == "inner" and is_plain(value):
            value = complete("inner", value)
        if isinstance(value, config_dict.FieldReference) and key in self:
            value = value.get()
        before = self.get("name")
        if key not in self and before is not None and key in parts.elsewhere(self._kind):
            self._waiting[key] = value
            return
        try:
            super().__setitem__(key, value)
        except TypeError as error:
            path = "optimizer.inner" if self._kind == "inner" else self._kind
            of = f"of type {self.get_type(key).__name__}"
            of = "a section with a name of its own" if key == "inner" else of
            raise ValueError(f"config.{path}.{key}={value!r} must be {of}.") from error
        if key == "name" and value != before:
            self._become(before)

    def _become(self, before: str | None) -> None:
        """Takes the keys of the class that the section now names."""
        part = find(self._kind, self["name"])
        if part is None:  # `build` says so
            return
        keys = default_keys(self._kind, part)
        fields = {**self._set_before(before), **self._waiting}
        self._waiting.clear()
        with self.unlocked():
            for key in [key for key in self if key != "name"]:
                del self[key]
            for key, value in keys.items():
                super().__setitem__(key, complete("inner", {}) if key == "inner" else value)
            for key, value in fields.items():
                if key in keys or before is None:
                    self[key] = value
                else:
                    self._waiting[key] = value

    def _set_before(self, before: str | None) -> dict[str, Any]:
        """The values that the name now changed from `before` leaves: those set, where classes are found by name."""
        fields = {key: value for key, value in self.items() if key != "name"}
        if before is None:
            return fields
        old = find(self._kind, before) if self._kind in BY_NAME else None
        if old is None:
            return {}
        defaults = {key: parts.plain(value) for key, value in default_keys(self._kind, old).items()}
        return {k: v for k, v in fields.items() if k not in defaults or defaults[k] != v}


_CLASSES = {kind: type("Section", (Section,), {"_kind": kind}) for kind in (*KINDS, "inner")}


@checks.arguments
def section(kind: str, name: str = "", **values: Any) -> Section:
    """A section of a recipe: a name, and every constructor argument of the class of that name as a key.

    Args:
        kind: Which section: one of `KINDS`, such as "optimizer".
        name: The class: a key of `SECTIONS[kind]`, of `tflbt.models.MODELS`, or an optimizer's name. Left out for
            kinds with one class, such as "warmup".
        **values: Keys with other values than the constructor's defaults.

    Returns:
        The section, whose keys can all be set from the command line.

    Raises:
        ValueError: If there is no such name or key; the message lists those that there are.

    Example:
        >>> section("optimizer", "SGD", learning_rate=0.4).global_clipnorm is None
        True
        >>> section("schedule", "step", beta=0.5)
        Traceback (most recent call last):
        ...
        ValueError: config.schedule.beta=0.5 is no key of step: it has epochs, factor.
    """
    checks.one_of("kind", kind, KINDS)
    result = complete(kind, {"name": name, **values} if name else values)
    _arguments(kind, result, kind)
    return result.lock()


def is_plain(value: Any) -> bool:
    """True for a dictionary that is not completed yet."""
    return isinstance(value, (dict, ml_collections.ConfigDict)) and not isinstance(value, Section)


def complete(kind: str, values: Any) -> Section:
    """A section with the keys of the class that `values` name, those of `values` as they are there."""
    result = _CLASSES[kind]()
    if kind not in BY_NAME and "" in SECTIONS[kind]:
        result.update(default_keys(kind, SECTIONS[kind][""]))
    for key in sorted(values, key=lambda key: key != "name"):
        result[key] = values[key]
    return result


def build(config: ml_collections.ConfigDict, kind: str, **supplied: Any) -> Any:
    """Constructs what a section says; None where it names nothing or is off. Every error of a section comes from here.

    `supplied` are arguments that are no keys, such as `seed`; those that the class does not take are left out, and
    those that are keys count where the key is None. Errors name `config.SECTION.KEY=VALUE` and what would do.
    """
    values = config[kind]
    result = _build(kind, values, kind, supplied)
    if kind in SWITCHES:
        key, off, _ = SWITCHES[kind]
        return None if values[key] == off else result
    return result


def check(config: ml_collections.ConfigDict, kind: str) -> None:
    """Raises ValueError for names and keys of a section that cannot be, without building anything."""
    _arguments(kind, config[kind], kind)


def _build(kind: str, values: Any, path: str, supplied: Mapping[str, Any]) -> Any:
    part, arguments = _arguments(kind, values, path)
    if part.cls is None:
        return None
    switch, off, on = SWITCHES.get(kind, ("", None, None))
    if switch in arguments and values[switch] == off:
        arguments[switch] = on  # so that the other keys are checked
    if "inner" in arguments:
        rate = supplied.get("learning_rate", values.get("learning_rate"))
        inner = _build("inner", values["inner"], f"{path}.inner", {"learning_rate": rate})
        arguments["inner"] = inner
    parameters = optimizers.parameters(part.cls)
    for key, value in supplied.items():
        if key in parameters and arguments.get(key) is None:
            arguments[key] = value
    with naming(path, values, part.renamed):
        for key, value in arguments.items():
            if value is None and parameters[key].default is inspect.Parameter.empty:
                raise ValueError(f"{key}=None must be given: it has no default.")
        for count in {"curvature_samples", "samples"} & set(part.own):
            if values[count] is not None:
                checks.whole(count, values[count], at_least=1)
        if "learning_rate" in values and kind == "optimizer":
            checks.number("learning_rate", values["learning_rate"], more_than=0)
        result = part.cls(**arguments)
        return result if part.wrap is None else part.wrap(result)


def _arguments(kind: str, values: Any, path: str) -> tuple[Part, dict[str, Any]]:
    """The class that a section names, and its arguments; raises ValueError for a name or key that there is not."""
    named = kind in BY_NAME or "" not in SECTIONS[kind]
    if named and values.get("name") is None:
        raise ValueError(f"config.{path} needs a name, such as {parts.names(kind)[0]}.")
    name = values.get("name", "")
    part = find(kind, name)
    if part is None:
        raise ValueError(f"config.{path}.name={name!r} {parts.no_such(kind, name)}")
    keys = default_keys(kind, part)
    if kind == "inner" and "learning_rate" in values:
        raise ValueError(
            f"config.{path}.learning_rate={values['learning_rate']!r} must be given as "
            f"config.{path.rpartition('.')[0]}.learning_rate, where every optimizer has it."
        )
    for key, value in [*values.items(), *getattr(values, "_waiting", {}).items()]:
        if key != "name" and key not in keys:
            has = f"it has {', '.join(sorted(keys))}" if keys else "it has none"
            raise ValueError(f"config.{path}.{key}={value!r} is no key of {name or path}: {has}.")
    argument = {key: word for word, key in part.renamed.items()}
    arguments = {argument.get(k, k): v for k, v in values.items() if k not in ("name", *part.own)}
    return part, arguments


@contextlib.contextmanager
def naming(path: str, values: Any, renamed: Mapping[str, str] | None = None) -> Iterator[None]:
    """Puts the key and its value before the error of a constructor whose arguments are called like the keys."""
    start = f"config.{path}." if path else "config."
    switch, off, _ = SWITCHES.get(path, ("", None, None))
    try:
        yield
    except (ValueError, TypeError) as error:
        text = str(error)
        for word in re.findall(r"\w+", text):
            key = (renamed or {}).get(word, word)
            if key in values and key != "name":
                if key == switch and "for none" not in text:
                    text = f"{text.rstrip('.')}; or {off} for none."
                if text.startswith(f"{word}="):
                    raise ValueError(f"{start}{key}{text[len(word) :]}") from error
                raise ValueError(f"{start}{key}={values[key]!r}: {text}") from error
        raise ValueError(f"{start.rstrip('.')}: {text}") from error
