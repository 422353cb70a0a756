"""What an update keeps besides the model, and what its parts see of a model."""

from __future__ import annotations

import functools
from typing import Any, Protocol

import tensorflow as tf

from tflbt.control.progress import Progress
from tflbt.control.ranks import WantedRanks
from tflbt.control.tail import Tail
from tflbt.distributed import comm
from tflbt.training.rules.rule import Rules


class SameOnRanks:
    """What `tflbt.training.ranks.same_on_ranks` and `layer_states` know of a model since it was compiled."""

    def __init__(self) -> None:
        self.settled = False  # whether the ranks have the chief's state
        self.mixed = False  # whether the ranks' hardware differs
        self.latest: dict[str, bytes] = {}  # fingerprints by name
        self.calls = 0  # of train_on_batch
        self.named: set[str] = set()  # variables of which a notice was given
        with tf.device("CPU:0"):
            # The fingerprint of `latest`, 8 bytes, and whether this rank leaves the training.
            self.variable = tf.Variable(
                tf.zeros([9], tf.uint8), trainable=False, name="tflbt_same_on_ranks"
            )


class UpdateState:
    """Variables that are not weights and must not be saved with the model."""

    def __init__(self) -> None:
        # A checkpoint's state of rules, for the next fit; as the model's attribute Keras would track the dictionary.
        self.restored_rules: dict[str, Any] = {}
        variable = functools.partial(tf.Variable, trainable=False)
        # Samples in a full sub-batch; a sub-batch of n samples has the weight n / nominal.
        self.nominal = variable(1.0, name="tflbt_nominal")
        # Samples of all ranks that went into updates since the model was compiled.
        self.samples_seen = variable(0, dtype=tf.int64, name="tflbt_samples_seen")
        # Whether an update that finds no data ends the epoch, or is passed over.
        self.data_may_end = variable(True, name="tflbt_data_may_end")
        # How many steps of an evaluation make a batch of Keras's; of a fit's validation.
        self.steps_per_batch = variable(1, dtype=tf.int64, name="tflbt_steps_per_batch")
        self.validation_steps_per_batch = 1
        self.same = SameOnRanks()
        self.element_spec: Any = None  # of the data of the last update that was traced
        # Metrics whose states over ranks are no sums: the metric, its metric_merging.Merge, another of its kind.
        self.merges: list[tuple[Any, Any, Any]] = []
        # States that metrics had when they were taken in. Keras resets them from their second epoch on.
        self.first_of_metrics: list[tuple[tf.Variable, Any]] = []
        # The rank and number of ranks for which functions were traced, where these are constants in them.
        self.traced_for: dict[str, tuple[int, int]] = {}
        self.examined = False  # whether split_check has looked at the loss and metrics
        self.refusal: str | None = None  # why a batch must not be split
        self.timed = False  # whether updates read the clock; `time_updates` begins it
        with tf.device("CPU:0"):
            # What updates spent on input, computation and communication, and when the clock was last read.
            self.seconds = variable([0.0, 0.0, 0.0], dtype=tf.float64, name="tflbt_seconds")
            self.moment = variable(0.0, dtype=tf.float64, name="tflbt_moment")
            # What whole arrays are dealt for: first draw, the draw before which to stop, samples carried over, and how
            # many sub-batches are passed over.
            self.course = variable([0, 0, 0, 0], dtype=tf.int64, name="tflbt_course")
            # Sub-batches to throw away before the next update, if its function `skips`.
            self.skipped = variable(0, dtype=tf.int64, name="tflbt_skipped")
            # Whether this rank, and after an update any rank, wishes to leave the training and to save it.
            self.wishes = variable([0.0, 0.0], name="tflbt_wishes")
            self.agreed = variable([0.0, 0.0], name="tflbt_agreed")
        self.listens = False  # whether the ranks exchange what they wish
        self.interruption: Any = None  # of the fit that runs, if it can be interrupted
        self.position: Any = None  # where in its first epoch the next fit begins
        self.wanted_ranks: WantedRanks | None = (
            None  # with which the run is to go on after this epoch
        )
        self.skips = False
        self.progress = Progress()
        self.tail: Tail | None = None  # of the last fit; None: how long an epoch is, is not known
        self.ghosts: dict[Any, Any] = {}  # layers whose ghosts are of several ranks, and these
        self.noticed_ghosts = False  # whether it was said that ghosts hold instances of few samples
        self.noticed_tail = False

    def begin_metrics(self) -> None:
        """Gives metrics that have just been taken in the states that they were made with."""
        for variable, value in self.first_of_metrics:
            variable.assign(value)
        self.first_of_metrics = []


def time_updates(model: Any) -> None:
    """Has the updates of a compiled model read the clock from the next `fit` on, for `UpdateState.seconds`."""
    if not model.update_state.timed:
        model.update_state.timed, model.train_function = True, None


class TrainingModel(Protocol):
    """A LargeBatchModel as the parts of its training see it: what it has beyond a Keras model."""

    train_function: Any

    @property
    def reduction(self) -> comm.Reduction:
        """How gradients are summed over ranks."""

    @property
    def sub_batches_variable(self) -> tf.Variable:
        """Sub-batches that each rank takes for an update."""

    @property
    def update_state(self) -> UpdateState:
        """What an update keeps besides the model."""

    @property
    def rules(self) -> Rules:
        """What changes or observes an update."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs for inputs, as of every Keras model."""

    def __getattr__(self, name: str) -> Any:
        """What every Keras model has; Keras is not typed."""
