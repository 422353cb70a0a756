"""The ranks of a job: how they start, count, and exchange tensors and objects through Horovod.

In one process, with or without Horovod installed, every function here works and does nothing, so the rest of tflbt is
written once, for any number of ranks. Nothing outside this folder imports Horovod.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from tflbt.distributed import devices, membership, waiting, watchdog
from tflbt.distributed.launcher import LAUNCHER_VARIABLES as LAUNCHER_VARIABLES
from tflbt.distributed.launcher import launched as launched


@dataclasses.dataclass(frozen=True)
class Reduction:
    """How gradients are summed over ranks: the arguments of `hvd.DistributedOptimizer`.

    Args:
        process_set: The Horovod process set whose ranks train this model; None means all ranks (those of the group,
            inside `process_set_scope`).
        compression: A Horovod compressor (`hvd.Compression.fp16`); None sends gradients as they are.
        sum_over_ranks: True for `op=hvd.Sum`: the update uses the sum of the ranks' mean gradients, larger than the
            mean over all samples (the default) by the number of ranks.
    """

    process_set: Any = None
    compression: Any = None
    sum_over_ranks: bool = False

    @property
    def size(self) -> int:
        """Number of ranks that train together."""
        return size() if self.process_set is None else self.process_set.size()

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that name these ranks to Horovod's functions."""
        chosen = _group if self.process_set is None else self.process_set
        return {} if chosen is None else {"process_set": chosen}

    @property
    def rank(self) -> int:
        """This process's number among the ranks that train together."""
        return rank() if self.process_set is None else self.process_set.rank()

    @property
    def varies(self) -> bool:
        """Whether there are several ranks, or may be later: graphs that are traced now must serve them."""
        return membership.elastic() or self.size > 1

    @property
    def size_in_graph(self) -> Any:
        """The number of ranks for a graph: an int, or an int32 scalar where ranks come and go."""
        return membership.ranks_in_graph() if membership.elastic() else self.size

    @property
    def rank_in_graph(self) -> Any:
        """This process's number for a graph, likewise."""
        return membership.rank_in_graph() if membership.elastic() else self.rank

    @property
    def factor(self) -> Any:
        """By how much an update's gradient is longer than the mean over all samples, for a graph: 1, or the ranks."""
        if not self.sum_over_ranks:
            return 1
        size = self.size_in_graph
        return tf.cast(size, tf.float32) if tf.is_tensor(size) else size

    @property
    def uncompressed(self) -> Reduction:
        """The same ranks without compression: for counts, metrics and differences, which must be exact."""
        return dataclasses.replace(self, compression=None)

    @property
    def root(self) -> int:
        """The number among all ranks of the one that decides for this group."""
        chosen = self.options.get("process_set")
        return chosen.ranks[0] if chosen is not None and chosen.ranks else 0


EVERYONE = Reduction()
_neighbours: dict[int, Reduction] = {}  # by how many ranks they are
# Whether Horovod leaves what is summed as a group to itself; it reads this when it starts.
_APART = "HOROVOD_DISABLE_GROUP_FUSION"
_group: Any = None  # the process set that stands for all ranks inside `process_set_scope`


def reduction_of(model: Any) -> Reduction:
    """The ranks that train this model together: a LargeBatchModel's own, and all ranks for any other model."""
    return getattr(model, "reduction", EVERYONE)


def _horovod() -> Any:
    """Horovod's TensorFlow module, started; None if there is only one process."""
    if not launched():
        module = sys.modules.get("horovod.tensorflow")
        return module if module is not None and module.is_initialized() else None
    init()
    import horovod.tensorflow as hvd

    return hvd


def init() -> None:
    """Starts Horovod if a launcher started this process, limits it to its share of the cores, and pins its GPU.

    Call it before TensorFlow touches a device: each of the `local_size` ranks of a host then takes an equal share of
    the cores (otherwise each takes them all), and rank i of a host sees only its i-th GPU. Calling it again, or after
    the program called `hvd.init()` itself, changes nothing. In one process it returns at once.

    Raises:
        RuntimeError: If a launcher started this process but Horovod is not installed, or if `tf.keras` is Keras 3, with
            which Horovod 0.28.1 never reduces gradients.
        ValueError: If the host has fewer GPUs than ranks.
    """
    membership.take_seat()
    if not launched():
        return
    try:
        import horovod.tensorflow as hvd
    except ImportError as error:
        raise RuntimeError(
            "This process was started by an MPI or Horovod launcher, but Horovod cannot be imported, so its ranks "
            f"would train apart ({error}). Run mpi/install.sh, or start one process without a launcher."
        ) from error
    if hvd.is_initialized():
        return
    keras_version = getattr(tf.keras, "__version__", "2")
    if keras_version.startswith("3"):
        raise RuntimeError(
            f"tf.keras is Keras {keras_version}, with which Horovod never reduces gradients. Use TensorFlow "
            "2.15, or set TF_USE_LEGACY_KERAS=1 and install tf_keras."
        )
    watchdog.note_threads()
    if not membership.elastic():
        # Ranks that start late are slow, not lost; those that are stuck later are the watchdog's to find.
        os.environ.setdefault("HOROVOD_GLOO_TIMEOUT_SECONDS", "300")
    if not tf.config.list_physical_devices("GPU"):
        os.environ.update(waiting.settings(os.environ))
    os.environ.setdefault(_APART, "1")
    hvd.init()
    if membership.elastic():
        membership.update(hvd.rank(), hvd.size())
    else:
        devices.configure(hvd.local_rank(), hvd.local_size())
        watchdog.link()


def groups_stay_apart() -> bool:
    """Whether Horovod never joins two calls of `all_reduce_sum`, which would add numbers in another order."""
    return os.environ.get(_APART, "0") not in ("", "0")


def sums_take_the_core() -> bool:
    """Whether a sum on its way keeps a rank's only core from computing: Open MPI looks for messages without a pause."""
    hvd = _horovod()
    over_mpi = hvd is not None and hvd.mpi_enabled() and not hvd.gloo_enabled()
    return over_mpi and cores() == 1 and not tf.config.list_physical_devices("GPU")


def rank() -> int:
    """This process's number among all ranks, from 0; inside `process_set_scope`, among those of the group."""
    hvd = _horovod()
    if hvd and membership.elastic():
        return membership.now()[0]
    if hvd and _group is not None:
        return _group.rank()
    return hvd.rank() if hvd else 0


def size() -> int:
    """Number of ranks, 1 in one process; inside `process_set_scope`, the number of the group's ranks."""
    hvd = _horovod()
    if hvd and membership.elastic():
        return membership.now()[1]
    if hvd and _group is not None:
        return _group.size()
    return hvd.size() if hvd else 1


def init_groups(ranks_per_group: int) -> Any:
    """Starts Horovod, on every rank and in place of `init`, with its ranks split into groups of neighbours.

    The groups are ranks 0 .. n-1, n .. 2n-1, ..., each with a process set of its own. Returns this rank's, for
    `process_set_scope`; None if all ranks are one group.

    Raises:
        ValueError: If the ranks cannot be split so.
    """
    allow_neighbours()
    if ranks_per_group == 1:  # nothing to reduce, so Horovod need not look every millisecond
        os.environ.setdefault("HOROVOD_CYCLE_TIME", "50")
    init()
    ranks = size()
    if ranks_per_group < 1 or ranks % ranks_per_group:
        fit = [str(n) for n in range(1, ranks + 1) if ranks % n == 0]
        raise ValueError(
            f"ranks_per_group={ranks_per_group} does not divide the {ranks} ranks: use {' or '.join(fit)}."
        )
    if ranks_per_group == ranks:
        return None
    groups = [
        _horovod().add_process_set(list(range(first, first + ranks_per_group)))
        for first in range(0, ranks, ranks_per_group)
    ]
    return groups[rank() // ranks_per_group]


def allow_neighbours() -> None:
    """Before Horovod starts: lets `neighbours` make groups of some of the ranks."""
    os.environ["HOROVOD_DYNAMIC_PROCESS_SETS"] = "1"  # read when Horovod starts


def neighbours(ranks: int, reduction: Reduction = EVERYONE) -> Reduction:
    """This rank and its neighbours: of ranks 0 .. n-1, n .. 2n-1, ..., all of which must make the same call.

    Raises:
        ValueError: If they are some of a process set, or Horovod was started without `HOROVOD_DYNAMIC_PROCESS_SETS=1`.
    """
    if ranks == reduction.size:
        return reduction
    if reduction.options:
        raise ValueError(
            f"ranks={ranks} of the {reduction.size} of a process set: use all of them."
        )
    hvd = _horovod()
    if ranks not in _neighbours:
        groups = [list(range(first, first + ranks)) for first in range(0, hvd.size(), ranks)]
        try:
            sets = [hvd.add_process_set(group) for group in groups]
        except ValueError as error:
            raise ValueError(
                f"groups of {ranks} of {hvd.size()} ranks need process sets, which are made while Horovod runs: set "
                f"HOROVOD_DYNAMIC_PROCESS_SETS=1 in the environment before it starts ({error})."
            ) from error
        _neighbours[ranks] = dataclasses.replace(reduction, process_set=sets[hvd.rank() // ranks])
    return _neighbours[ranks]


@contextlib.contextmanager
def process_set_scope(process_set: Any) -> Iterator[None]:
    """In the `with` block, `rank`, `size` and every reduction mean this process set's ranks; None changes nothing."""
    global _group
    before, _group = _group, process_set or _group
    try:
        yield
    finally:
        _group = before


def join() -> None:
    """Waits until every rank has called this (Horovod's join); not for use inside `process_set_scope`.

    A rank that waits takes part in the others' sums with zeros, and makes their gathers and broadcasts fail, so that a
    rank that has failed leaves none of them waiting for ever.
    """
    if size() > 1:
        _horovod().join()


def local_rank() -> int:
    """This process's number among the ranks of its host, from 0; where ranks come and go, its seat's."""
    if (seat := membership.seat()) is not None:
        return seat[0]
    hvd = _horovod()
    return hvd.local_rank() if hvd else 0


def local_size() -> int:
    """Number of ranks on this host; where ranks come and go, the largest that it may be."""
    if (seat := membership.seat()) is not None:
        return seat[1]
    hvd = _horovod()
    return hvd.local_size() if hvd else 1


def cores() -> int:
    """This rank's share of the host's cores, at least 1."""
    return devices.share_of_cores(local_size())


def is_chief() -> bool:
    """True on rank 0, which prints, logs and writes for all."""
    return rank() == 0


def all_reduce_sum(
    tensors: list[tf.Tensor],
    name: str,
    reduction: Reduction = EVERYONE,
    *,
    in_branch: bool = False,
) -> list[tf.Tensor]:
    """Sums each tensor over the ranks, in one Horovod group per dtype; every rank must make the same call.

    Works eagerly and inside `tf.function`. In one process the tensors are returned as they are. Where ranks come and
    go, a graph holds both. `in_branch` says that it holds no other call of this name: ranks then meet by that alone,
    not by the numbers that TensorFlow gives branches of loops, which may differ where the ranks' hardware does.
    """
    options = {**reduction.options, "ignore_name_scope": in_branch}
    if tensors and membership.elastic() and not tf.executing_eagerly():
        return tf.cond(
            membership.alone(),
            lambda: [tf.identity(tensor) for tensor in tensors],
            lambda: _sums(tensors, name, reduction, options),
        )
    if reduction.size == 1 or not tensors:
        return list(tensors)
    return _sums(tensors, name, reduction, options)


def _sums(
    tensors: list[tf.Tensor], name: str, reduction: Reduction, options: dict[str, Any]
) -> list[tf.Tensor]:
    """The sums over the ranks; in a graph of a process that waits for its place, Horovod need not have started."""
    import horovod.tensorflow as hvd

    if reduction.compression is not None:
        options = {**options, "compression": reduction.compression}
    results: list[tf.Tensor] = list(tensors)
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
        places = [place for place, tensor in enumerate(tensors) if tensor.dtype == dtype]
        group = hvd.grouped_allreduce(
            [tensors[place] for place in places], name=f"{name}.{dtype.name}", op=hvd.Sum, **options
        )
        for place, tensor in zip(places, group):
            results[place] = tf.ensure_shape(tensor, tensors[place].shape)
    return results


def broadcast_object(obj: Any, name: str, reduction: Reduction = EVERYONE) -> Any:
    """Returns the chief's `obj` (anything that pickles) on every rank; every rank must make the same call."""
    if reduction.size == 1:
        return obj
    return _horovod().broadcast_object(
        obj, root_rank=reduction.root, name=name, **reduction.options
    )


def gather_objects(obj: Any, name: str, reduction: Reduction = EVERYONE) -> list[Any]:
    """Returns the list of all ranks' `obj`, in the order of ranks; every rank must make the same call."""
    if reduction.size == 1:
        return [obj]
    return _horovod().allgather_object(obj, name=name, **reduction.options)


def on_chief(action: Callable[[], Any], name: str, reduction: Reduction = EVERYONE) -> Any:
    """Runs `action` on the chief only, and returns its result or raises its error on every rank.

    The error keeps its type if that is a ValueError or an OSError, so that all ranks end for the same reason. Every
    rank must make the same call; the result must pickle.
    """
    result, error = None, None
    if reduction.rank == 0:
        try:
            result = action()
        except Exception as raised:
            error = raised
    outcome = (result, None if error is None else (_portable(error), str(error)))
    result, failure = broadcast_object(outcome, name, reduction)
    if failure is not None:
        raise failure[0](failure[1]) from error
    return result


def _portable(error: Exception) -> type[Exception]:
    """The class with which the other ranks raise the chief's error."""
    for kind in (FileExistsError, FileNotFoundError, OSError, ValueError):
        if isinstance(error, kind):
            return kind
    return RuntimeError


def __getattr__(name: str) -> Any:
    """The functions' old names, with a deprecation line."""
    new = {"meet": "join", "within": "process_set_scope"}.get(name)
    if new is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"comm.{name} is now comm.{new}", DeprecationWarning, stacklevel=2)
    return globals()[new]
