"""Decides what a machine's GPUs, their driver and TensorFlow's kernels for them mean for training."""

from __future__ import annotations

from tflbt.doctor.facts import Facts, Finding

_CUDA_12_DRIVER = 525  # runs what is built with any CUDA 12
# The first driver that compiles the PTX of a CUDA version; NVIDIA's table of CUDA's releases.
_PTX_DRIVERS = {"12.2": 535, "12.3": 545, "12.4": 550, "12.5": 555}
_CACHE = "CUDA_CACHE_MAXSIZE=4294967296 and CUDA_CACHE_PATH=a folder on a disk that stays"


def judge(facts: Facts, ranks: int) -> list[Finding]:
    """Decides whether `ranks` ranks on this machine can use its GPUs."""
    if not facts.gpus:
        return [_without_gpus(facts)]
    kernels = [_judge_kernels(facts, each) for each in dict.fromkeys(facts.capabilities)]
    return [_judge_count(facts, ranks), *_judge_driver(facts), *kernels]


def way(capability: str, compiled_for: tuple[str, ...]) -> str:
    """How kernels run on a device: "binary", "ptx" (compiled at the first start), or "none".

    A binary runs on devices of the same major version and no smaller minor one; PTX on all that are not older. In
    TensorFlow's list "sm_80" stands for a binary, "compute_80" for a binary and PTX.

    Example:
        >>> way("8.6", ("sm_70", "compute_80")), way("9.0", ("sm_70", "compute_80"))
        ('binary', 'ptx')
    """
    device = int(capability.replace(".", ""))
    built = [(kind, int(number)) for kind, number in (each.split("_") for each in compiled_for)]
    if any(number // 10 == device // 10 and number <= device for _, number in built):
        return "binary"
    return "ptx" if any(k == "compute" and number <= device for k, number in built) else "none"


def _without_gpus(facts: Facts) -> Finding:
    none = "none: ranks compute on the processor"
    if not facts.cuda:
        if not facts.driver:
            return Finding("ok", "GPUs", none)
        hint = "this TensorFlow has no CUDA: mpi/install.sh --gpu"
        return Finding("warning", "GPUs", f"none seen, though driver {facts.driver} is there", hint)
    if not facts.driver:
        return Finding("ok", "GPUs", f"{none}; this build (CUDA {facts.cuda}) also runs on GPUs")
    hint = "look at CUDA_VISIBLE_DEVICES, at nvidia-smi, and at what `import tensorflow` warns of"
    return Finding("warning", "GPUs", f"none seen, though driver {facts.driver} is there", hint)


def _judge_count(facts: Facts, ranks: int) -> Finding:
    """Each rank takes one GPU of its host, in order; a rank without a GPU would stop at the start."""
    count = len(facts.gpus)
    taken = [f"local rank {rank}: {name}" for rank, name in enumerate(facts.gpus[:ranks])]
    if count > ranks:
        taken.append(f"{count - ranks} not used by {ranks} rank{'s' if ranks > 1 else ''}")
    if ranks <= count:
        return Finding("ok", "GPUs", "; ".join(taken))
    hint = f"start at most {count} ranks here, or hide the GPUs by CUDA_VISIBLE_DEVICES=''"
    return Finding("error", "GPUs", "; ".join(taken), hint)


def _judge_driver(facts: Facts) -> list[Finding]:
    if not facts.driver or not facts.cuda:
        return []
    release = int(facts.driver.split(".")[0])
    compiles = any(way(each, facts.compiled_for) == "ptx" for each in facts.capabilities)
    wanted = (
        _PTX_DRIVERS.get(".".join(facts.cuda.split(".")[:2]), 535) if compiles else _CUDA_12_DRIVER
    )
    if release >= wanted:
        return [Finding("ok", "- driver", facts.driver)]
    why = "to compile its kernels for these GPUs" if compiles else "to run"
    hint = f"TensorFlow with CUDA {facts.cuda} wants R{wanted} or newer {why}"
    return [Finding("error", "- driver", facts.driver, hint)]


def _judge_kernels(facts: Facts, capability: str) -> Finding:
    name = f"- capability {capability}"
    kind = way(capability, facts.compiled_for)
    if kind == "binary":
        return Finding("ok", name, "TensorFlow has kernels compiled for it")
    if kind == "none":
        built = ", ".join(facts.compiled_for)
        return Finding("error", name, f"TensorFlow has no kernels for it, but for {built}")
    if facts.kernel_cache:
        value = f"kernels are compiled at the first start, up to 30 minutes, and stay in {facts.kernel_cache}"
        return Finding("ok", name, value)
    value = "kernels are compiled at the first start, which takes up to 30 minutes"
    native = " (on 8.9 and 9.0, mpi/install.sh --gpu --tensorflow 2.18 has them compiled)"
    return Finding("warning", name, value, f"set {_CACHE}, so that it is once{native}")
