"""A recipe's sections: each is a name and that class's own constructor arguments, and to build one is to check it."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ml_collections
from ml_collections import config_dict

from tflbt import callbacks, checks, models, schedules
from tflbt.data import BatchAugmentation
from tflbt.recipes import optimizers
from tflbt.training import FGSM, SmallLossDiscarding

# Arguments that the recipe supplies when it builds, so that they are no keys.
_SUPPLIED = {
    "begin", "callbacks", "classes", "curvature_data", "directory", "input_shape", "seed", "standardize",
    "sub_batch_size",
}  # fmt: skip
# Keys that switch a section off, the value that does, and one that does not.
SWITCHES: dict[str, tuple[str, Any, Any]] = {
    "warmup": ("epochs", 0, 1.0),
    "stability": ("every", 0, 1),
    "adversarial": ("share", 0, 0.2),
    "batch_augmentation": ("instances", 1, 2),
    "small_loss": ("share", 0, 0.3),
}
# What does nothing while a switch is off, as `tflbt.tuning.space.check` takes it.
USED_WITH: dict[str, tuple[str, Any]] = {
    **{kind: (f"{kind}.{key}", off) for kind, (key, off, _) in SWITCHES.items()},
    "batch_schedule.omega": ("adversarial.share", 0),
    "batch_schedule.tau": ("adversarial.share", 0),
    "data.cutout_count": ("data.cutout_size", 0),
}


@dataclasses.dataclass(frozen=True)
class Part:
    """A class that a section can name, and how the section's keys differ from its constructor's arguments.

    Attributes:
        cls: The class, or a function that builds; its signature lists the keys. None: there is nothing to build.
        defaults: Where a recipe's default differs from the constructor's.
        own: Keys that the recipe itself reads, with their defaults.
        renamed: Keys that have another name than the argument.
        wrap: What the built object is put into.
    """

    cls: Callable[..., Any] | None = None
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    own: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    renamed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    wrap: Callable[[Any], Any] | None = None


def _curve(cls: type[schedules.Curve], **defaults: Any) -> Part:
    """A decay that begins where the warm-up ends, and ends with the training unless `until` says when."""
    own = {"after_warmup": True}
    return Part(cls, {"epochs": None, **defaults}, own, {"epochs": "until"}, callbacks.RateCurve)


def _fgsm(share: float = 0.2, epsilon: float = 0.005, standardize: Any = None) -> FGSM:
    """FGSM of images that were standardised."""
    options = {"share": share, "epsilon": epsilon}
    return FGSM(**options) if standardize is None else FGSM.of_images(standardize, **options)


# What a section can name; a kind of section with one class has no name.
SECTIONS: dict[str, dict[str, Part]] = {
    "warmup": {"": Part(callbacks.Warmup, {"epochs": 0.0})},
    "schedule": {
        "constant": Part(),
        "step": Part(callbacks.StepDecay, {"epochs": ()}),
        "two_phase": Part(
            callbacks.TwoPhaseSchedule,
            {"measure_exploration": True},  # for the figure; the schedule needs it from the switch on
            {"curvature_samples": 1024},  # the first of the training set; more cost more
        ),
        "polynomial": _curve(schedules.PolynomialDecay),
        "cosine": _curve(schedules.CosineDecay),
        "cyclical": _curve(schedules.Cyclical, length=10.0),
    },
    "batch_schedule": {
        "constant": Part(),
        "grow": Part(callbacks.GrowBatchSize, {"epochs": ()}),
        "adaptive": Part(callbacks.AdaptiveBatchSize, own={"curvature_samples": 128}),
        "first_epochs": Part(
            callbacks.FirstEpochsBatch,
            renamed={key: f"first_{key}" for key in ("batch_size", "learning_rate", "epochs")},
        ),
    },
    "stability": {"": Part(callbacks.StabilityMonitor, {"every": 0, "batch_size": 128})},
    "batch_augmentation": {"": Part(BatchAugmentation)},
    "small_loss": {"": Part(SmallLossDiscarding, {"share": 0.0, "epochs": None})},
    "adversarial": {"": Part(_fgsm, {"share": 0.0})},
    "checkpoint": {"": Part(callbacks.Checkpoint)},
}  # fmt: skip
# These name one of many classes, found by name; what a recipe has set stays where the new class has that key too.
_BY_NAME = ("model", "optimizer", "inner")
KINDS = ("model", "optimizer", *SECTIONS)


class Section(ml_collections.ConfigDict):
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
        if key not in self and before is not None and key in _elsewhere(self._kind):
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
        part = _find(self._kind, self["name"])
        if part is None:  # `build` says so
            return
        keys, old = default_keys(self._kind, part), _find(self._kind, before)
        fields = {key: value for key, value in self.items() if key != "name"}
        if before is not None:
            stays = self._kind in _BY_NAME and old is not None
            defaults = default_keys(self._kind, old) if stays and old is not None else {}
            fields = {
                key: value
                for key, value in fields.items()
                if stays and (key not in defaults or _value(defaults[key]) != value)
            }
        fields.update(self._waiting)
        self._waiting.clear()
        with self.unlocked():
            for key in [key for key in self if key != "name"]:
                del self[key]
            for key, value in keys.items():
                super().__setitem__(key, value)
            for key, value in fields.items():
                if key in keys or before is None:
                    self[key] = value
                else:
                    self._waiting[key] = value


_CLASSES = {kind: type("Section", (Section,), {"_kind": kind}) for kind in (*KINDS, "inner")}


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
    made = complete(kind, {"name": name, **values} if name else values)
    _arguments(kind, made, kind)
    return made.lock()


def is_plain(value: Any) -> bool:
    """True for a dictionary that is not completed yet."""
    return isinstance(value, (dict, ml_collections.ConfigDict)) and not isinstance(value, Section)


def complete(kind: str, values: Any) -> Section:
    """A section with the keys of the class that `values` name, those of `values` as they are there."""
    made = _CLASSES[kind]()
    if kind not in _BY_NAME and "" in SECTIONS[kind]:
        made.update(default_keys(kind, SECTIONS[kind][""]))
    for key in sorted(values, key=lambda key: key != "name"):
        made[key] = values[key]
    return made


def build(config: ml_collections.ConfigDict, kind: str, **supplied: Any) -> Any:
    """Constructs what a section says; every error of a section comes from here.

    Args:
        config: A recipe's configuration.
        kind: Which section.
        **supplied: Arguments that are no keys, such as `seed`; those that the class does not take are left out, and
            those that are keys count where the key is None.

    Returns:
        The object; None where the section names nothing, or is switched off.

    Raises:
        ValueError: Naming `config.SECTION.KEY=VALUE` and what would do.
    """
    values = config[kind]
    made = _build(kind, values, kind, supplied)
    if kind in SWITCHES:
        key, off, _ = SWITCHES[kind]
        return None if values[key] == off else made
    return made


def check(config: ml_collections.ConfigDict, kind: str) -> None:
    """Raises ValueError for names and keys of a section that cannot be, without building anything."""
    _arguments(kind, config[kind], kind)


def _build(kind: str, values: Any, path: str, supplied: Mapping[str, Any]) -> Any:
    part, arguments = _arguments(kind, values, path)
    if part.cls is None:
        return None
    if kind in SWITCHES and values[SWITCHES[kind][0]] == SWITCHES[kind][1]:
        arguments[SWITCHES[kind][0]] = SWITCHES[kind][2]  # so that the other keys are checked
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
        if "curvature_samples" in part.own:
            checks.whole("curvature_samples", values["curvature_samples"], at_least=1)
        if "learning_rate" in values and kind == "optimizer":
            checks.number("learning_rate", values["learning_rate"], more_than=0)
        made = part.cls(**arguments)
        return made if part.wrap is None else part.wrap(made)


def _arguments(kind: str, values: Any, path: str) -> tuple[Part, dict[str, Any]]:
    """The class that a section names, and its arguments; raises ValueError for a name or key that there is not."""
    named = kind in _BY_NAME or "" not in SECTIONS[kind]
    if named and values.get("name") is None:
        raise ValueError(f"config.{path} needs a name, such as {_names(kind)[0]}.")
    name = values.get("name", "")
    part = _find(kind, name)
    if part is None:
        raise ValueError(f"config.{path}.name={name!r} {_no_such(kind, name)}")
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


def _find(kind: str, name: Any) -> Part | None:
    """The class of a name; None if there is none."""
    if kind in ("optimizer", "inner"):
        cls = optimizers.find(name)
        own = {"learning_rate": 0.01} if cls is optimizers.LayerWise and kind == "optimizer" else {}
        return None if cls is None else Part(cls, own=own)
    if kind == "model":
        return Part(models.MODELS[name]) if name in models.MODELS else None
    return SECTIONS[kind].get(name)


def _names(kind: str) -> list[str]:
    """The names that a section of a kind can have."""
    if kind in ("optimizer", "inner"):
        return ["SGD", "Adam", *optimizers.NAMES]
    return list(models.MODELS if kind == "model" else SECTIONS[kind])


def _no_such(kind: str, name: Any) -> str:
    """What is said of a name that there is not."""
    if kind in ("optimizer", "inner"):
        return optimizers.no_such(name)
    return f"must be one of {', '.join(_names(kind))}."


def _elsewhere(kind: str) -> set[str]:
    """The keys that some class of a kind has, where the classes are few."""
    if kind in _BY_NAME:
        return set()
    return {key for part in SECTIONS[kind].values() for key in default_keys(kind, part)}


def default_keys(kind: str, part: Part) -> dict[str, Any]:
    """The keys of a class with their defaults; a placeholder where the default is None."""
    keys: dict[str, Any] = {}
    supplied = _SUPPLIED | ({"learning_rate"} if kind == "inner" else set())
    parameters = {} if part.cls is None else optimizers.parameters(part.cls)
    for word, parameter in parameters.items():
        if word not in supplied:
            default = part.defaults.get(word, parameter.default)
            keys[part.renamed.get(word, word)] = _settable(word, default, parameter.annotation)
    if "inner" in keys:
        keys["inner"] = _CLASSES["inner"]()
    return {**keys, **part.own}


def _settable(name: str, default: Any, annotation: Any) -> Any:
    """A default that keeps its type when a recipe or the command line sets the key."""
    if isinstance(default, (bool, int, float, str, tuple)):
        return default
    text = annotation if isinstance(annotation, str) else str(annotation)
    if annotation is inspect.Parameter.empty:  # Keras's
        text = "int" if name.endswith("_frequency") else "float"
    for kind, words in (
        (tuple, r"Sequence|tuple"),
        (bool, "bool"),
        (int, "int"),
        (float, "[fF]loat"),
        (str, "str"),
    ):
        if re.search(rf"\b({words})", text):
            return config_dict.placeholder(kind)
    return config_dict.placeholder(object)


def _value(default: Any) -> Any:
    """A default without its placeholder."""
    return default.get() if isinstance(default, config_dict.FieldReference) else default
