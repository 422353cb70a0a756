"""Decides which installed parts are fine, missing, or would keep training from starting.

`tflbt.doctor.machine` examines the machine and `tflbt.doctor` prints; no installed package is needed here.
"""

from __future__ import annotations

import dataclasses

_INSTALL = "run mpi/install.sh"
_OPTIONAL = (
    ("TensorFlow Addons", "tensorflow-addons", "addons"),
    ("KerasTuner", "keras-tuner", "tuner"),
)


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is installed on a machine."""

    python: tuple[int, ...]  # version of the running Python, such as (3, 11, 7)
    versions: dict[str, str]  # of each installed part, by the name of its distribution
    tensorflow: str | None  # its version; None if it cannot be imported
    tensorflow_error: str  # last line of the error of its import, or empty
    keras: str | None  # version of the package behind tf.keras; None without TensorFlow
    gpus: tuple[str, ...]  # names of those that TensorFlow sees, in the order of local ranks
    horovod_parts: frozenset[str]  # built into it: "TensorFlow", "MPI", "Gloo", "NCCL", ...
    launchers: dict[str, str]  # what each prints as its version, by name
    cores: int  # that this process may use
    memory_gib: float
    horovod_error: str = ""  # last line of the error of its import
    unanswered: frozenset[str] = (
        frozenset()
    )  # those of TensorFlow and Horovod whose import did not end in time
    seconds: float = 0.0  # the time that they had
    load: float = 0.0  # processes that wanted a core meanwhile


@dataclasses.dataclass(frozen=True)
class Finding:
    """A line of the report."""

    # "ok", "warning", "missing" (and not needed), "unknown" (no answer), or "error": training could not start
    status: str
    name: str  # of the part
    value: str  # what was found
    hint: str = ""  # how to fix it; empty if there is nothing to fix


def judge(facts: Facts, ranks: int = 1) -> list[Finding]:
    """Decides for every part whether `ranks` ranks could train with it on this machine; 1 needs no Horovod."""
    return [
        _judge_python(facts),
        *_judge_tensorflow(facts),
        *_judge_horovod(facts, ranks),
        _judge_gpus(facts, ranks),
        _judge_launchers(facts),
        _judge_cores(facts, ranks),
        Finding("ok", "Memory", f"{facts.memory_gib:.1f} GiB"),
        *_judge_optional(facts),
    ]


def could_train(findings: list[Finding]) -> bool:
    """True if training could start, because no finding is an error or unknown."""
    return all(finding.status not in ("error", "unknown") for finding in findings)


def render(findings: list[Finding]) -> str:
    """Formats the findings in columns, with each hint on a line of its own.

    Example:
        >>> print(render([Finding("missing", "Horovod", "not installed", "run mpi/install.sh")]))
        missing  Horovod  not installed
                 fix:     run mpi/install.sh
    """
    wide = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.status:<7}  {finding.name:<{wide}}  {finding.value}")
        if finding.hint:
            lines.append(f"{'':<7}  {'fix:':<{wide}}  {finding.hint}")
    return "\n".join(lines)


def _judge_python(facts: Facts) -> Finding:
    version = ".".join(map(str, facts.python))
    if (3, 9) <= facts.python < (3, 12):
        return Finding("ok", "Python", version)
    hint = "TensorFlow 2.15 is made for Python 3.9 to 3.11 only: mpi/install.sh --python PATH"
    return Finding("error", "Python", version, hint)


def unanswered(name: str, seconds: float, load: float, cores: int) -> Finding:
    """A part that did not answer in time, which does not mean that it is broken: the machine is slow, or it hangs."""
    busy = f"{load:.0f} processes want its {cores} cores" if load > cores else "its disk or network"
    hint = f"the machine is slow ({busy}), or this hangs: wait, or give it longer by --seconds={2 * seconds:.0f}"
    return Finding("unknown", name, f"no answer in {seconds:.0f} s", hint)


def _judge_tensorflow(facts: Facts) -> list[Finding]:
    if "TensorFlow" in facts.unanswered:
        return [unanswered("TensorFlow", facts.seconds, facts.load, facts.cores)]
    if facts.tensorflow is None or facts.keras is None:
        value = facts.tensorflow_error or "not installed"
        hint = f"{_INSTALL}, or pip install tensorflow-cpu==2.15.1 for one process"
        return [Finding("error", "TensorFlow", value, hint)]
    tensorflow = Finding("ok", "TensorFlow", facts.tensorflow)
    if not facts.tensorflow.startswith("2.15."):
        hint = f"tflbt is tested with 2.15.1 only: {_INSTALL}"
        tensorflow = dataclasses.replace(tensorflow, status="warning", hint=hint)
    if int(facts.keras.split(".")[0]) < 3:
        return [tensorflow, Finding("ok", "Keras", facts.keras)]
    hint = "under Keras 3 Horovod trains without ever reducing: TensorFlow 2.15, or tf_keras with TF_USE_LEGACY_KERAS=1"
    return [tensorflow, Finding("error", "Keras", facts.keras, hint)]


def _judge_horovod(facts: Facts, ranks: int) -> list[Finding]:
    trouble = "error" if ranks > 1 else "warning"
    version, parts = facts.versions.get("horovod"), facts.horovod_parts
    if version is None:
        status = "error" if ranks > 1 else "missing"
        hint = f"one process trains without it, several do not: {_INSTALL}"
        return [Finding(status, "Horovod", "not installed", hint)]
    if "Horovod" in facts.unanswered:
        return [unanswered("Horovod", facts.seconds, facts.load, facts.cores)]
    if "TensorFlow" not in parts:
        why = f": {facts.horovod_error}" if facts.horovod_error else ""
        value = f"{version}, but its TensorFlow part does not load{why}"
        hint = "see what TensorFlow says above; Horovod may be fine"
        if "signal" in facts.horovod_error:
            hint = "it was killed, by the system for want of memory or by somebody: try again"
        elif facts.tensorflow is not None:
            hint = f"it was built for another TensorFlow or MPI: pip uninstall horovod, then {_INSTALL}"
        return [Finding(trouble, "Horovod", value, hint)]
    found = [Finding("ok", "Horovod", version)]
    controllers = ", ".join(name for name in ("Gloo", "MPI") if name in parts)
    operations = ", ".join(name for name in ("NCCL", "DDL", "CCL", "MPI", "Gloo") if name in parts)
    if not controllers:
        hint = f"it was built without Gloo and MPI: pip uninstall horovod, then {_INSTALL}"
        return [*found, Finding(trouble, "- controllers", "none", hint)]
    found.append(Finding("ok", "- controllers", controllers))
    if facts.gpus and "NCCL" not in parts:
        hint = "gradients of GPUs go through the processor's memory: mpi/install.sh --gpu"
        return [*found, Finding("warning", "- operations", operations, hint)]
    return [*found, Finding("ok", "- operations", operations)]


def _judge_gpus(facts: Facts, ranks: int) -> Finding:
    """Each rank takes one GPU of its host, in order; a rank without a GPU would stop at the start."""
    count = len(facts.gpus)
    if not count:
        return Finding("ok", "GPUs", "none: ranks compute on the processor")
    taken = [f"local rank {rank}: {name}" for rank, name in enumerate(facts.gpus[:ranks])]
    if count > ranks:
        taken.append(f"{count - ranks} not used by {ranks} rank{'s' if ranks > 1 else ''}")
    if ranks <= count:
        return Finding("ok", "GPUs", "; ".join(taken))
    hint = f"start at most {count} ranks here, or hide the GPUs by CUDA_VISIBLE_DEVICES=''"
    return Finding("error", "GPUs", "; ".join(taken), hint)


def _judge_launchers(facts: Facts) -> Finding:
    if not facts.launchers:
        hint = f"several ranks need one: {_INSTALL}"
        return Finding("missing", "Launchers", "no horovodrun, mpirun or srun", hint)
    versions = "; ".join(f"{name}: {version}" for name, version in facts.launchers.items())
    return Finding("ok", "Launchers", versions)


def _judge_cores(facts: Facts, ranks: int) -> Finding:
    if ranks <= facts.cores or facts.gpus:
        return Finding("ok", "Cores", str(facts.cores))
    hint = f"{ranks} ranks would take turns on them: start at most {facts.cores}"
    return Finding("warning", "Cores", str(facts.cores), hint)


def _judge_optional(facts: Facts) -> list[Finding]:
    findings = []
    for name, part, extra in _OPTIONAL:
        version = facts.versions.get(part)
        if version:
            findings.append(Finding("ok", name, version))
        else:
            hint = f"only if wanted: {_INSTALL}, or the extra '{extra}'"
            findings.append(Finding("missing", name, "not installed", hint))
    return findings
