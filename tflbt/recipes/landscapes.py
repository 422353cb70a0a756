"""Landscapes of runs: the loss between their ends, along their top eigenvectors, around them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import ml_collections
import numpy as np
import tensorflow as tf

from tflbt import checks
from tflbt.curvature import eigenvector_cut, filter_normalised, losses_at
from tflbt.recipes import stored
from tflbt.recipes.build import build_loss, build_model
from tflbt.recipes.config import default_config
from tflbt.recipes.data import build_samples
from tflbt.runs.run_directory import RunDirectory
from tflbt.training.checkpoint import Checkpoints, read_weights

# How BatchNorm's statistics come about between two networks.
STATISTICS = ("re-estimate", "interpolate")


@dataclasses.dataclass(frozen=True)
class Grid:
    """The points of a surface: `points` x `points` over low .. high in each direction, both ends included.

    Raises:
        ValueError: If there are fewer than two, or no range.
    """

    points: int = 21
    low: float = -0.2
    high: float = 1.2

    def __post_init__(self) -> None:
        """Checks the numbers."""
        checks.whole("points", self.points, at_least=2)
        checks.number("high", self.high, more_than=self.low, hint=", the lower end")

    @property
    def values(self) -> np.ndarray:
        """The coordinates in each direction, `[points]`."""
        return np.linspace(self.low, self.high, self.points)

    def coordinates(self) -> np.ndarray:
        """All points, `[points squared, 2]`; the second direction varies first."""
        first, second = np.meshgrid(self.values, self.values, indexing="ij")
        return np.stack([first.ravel(), second.ravel()], axis=1)


class RunsOnSamples:
    """Networks of runs on the same data and of the same model, with samples to evaluate them on.

    Args:
        runs: Run directories of `tflbt.train`.
        samples: The first so many training samples, as in evaluation; default 2048.
        data_dir: Where the data sets lie.
        sub_batch_size: Samples in memory at a time; default 256.

    Raises:
        ValueError: If the runs' data or networks differ.
        OSError: If a run or the data cannot be read.
    """

    def __init__(
        self,
        runs: Sequence[Any],
        samples: int = 2048,
        data_dir: str | None = None,
        sub_batch_size: int = 256,
    ) -> None:
        checks.whole("samples", samples, at_least=1)
        checks.whole("sub_batch_size", sub_batch_size, at_least=1)
        self.runs = [RunDirectory(run) for run in runs]
        configs = [config_of(run) for run in self.runs]
        for key in ("data", "model"):
            for run, config in zip(self.runs, configs):
                if config[key].to_dict() != configs[0][key].to_dict():
                    raise ValueError(
                        f"{run.path}: config.{key} is not that of {self.runs[0].path}: a landscape is of one network "
                        "on one data set."
                    )
        source = build_samples(configs[0], data_dir)
        self.model: tf.keras.Model = build_model(configs[0], source.source)
        # The loss without smoothing, which compares runs with it and without.
        self.model.compile(loss=build_loss(0.0))
        self.data = source.first(samples)
        self.sub_batch_size = sub_batch_size

    def weights(self, run: RunDirectory, epoch: int | None = None) -> list[np.ndarray]:
        """Returns a run's weights after an epoch; None: after its last checkpoint."""
        if epoch is not None:
            return read_weights(run.checkpoints / f"epoch_{epoch:05d}")
        newest = Checkpoints(run.checkpoints).newest_good()
        if newest is None:
            raise FileNotFoundError(2, "no checkpoints", str(run.checkpoints))
        return read_weights(newest)

    def between(self, grid: Grid, statistics: str = "re-estimate") -> np.ndarray:
        r"""Evaluates the loss over the plane through the initial weights and the ends of the first two runs.

        $$\theta(e_1, e_2) = \theta_0 + e_1 (\theta_1 - \theta_0) + e_2 (\theta_2 - \theta_0)$$

        Args:
            grid: The points.
            statistics: "re-estimate" (default): BatchNorm's statistics are measured at each point, on the samples.
                "interpolate": they lie on the plane like weights, which between two minima is right for neither.

        Returns:
            The losses, `[points, points]`, the first run along the first axis.

        Raises:
            ValueError: If the runs do not begin at the same weights.
            FileNotFoundError: If one has no checkpoint of epoch 0.

        Source: Figs 1, 9 and 10 of `abs-absa.txt`.
        """
        checks.one_of("statistics", statistics, STATISTICS)
        begins = [self.weights(run, 0) for run in self.runs[:2]]
        if not all(map(np.array_equal, *begins)):
            raise ValueError(
                f"{self.runs[0].path} and {self.runs[1].path} do not begin at the same weights: a surface is through "
                "the initial weights of both, so train them with the same seed and checkpoint.initial=True."
            )
        variables = self.model.trainable_variables
        if statistics == "interpolate":
            variables = self.model.weights
        places = [next(i for i, w in enumerate(self.model.weights) if w is v) for v in variables]
        start = begins[0]
        ends = [self.weights(run) for run in self.runs[:2]]
        self.model.set_weights(start)
        directions = [[end[i] - start[i] for i in places] for end in ends]
        batch_norm = "re-estimate" if statistics == "re-estimate" else "fixed"
        return self._surface(directions, grid, variables=variables, batch_norm=batch_norm)

    def cuts(self, epochs: Sequence[int], distances: np.ndarray) -> list[list[dict[str, Any]]]:
        """Evaluates the loss along each run's top eigenvector after each epoch, by epoch and run.

        Source: Fig. 11 of `abs-absa.txt`.
        """
        return [[self._cut(run, epoch, distances) for run in self.runs] for epoch in epochs]

    def _cut(self, run: RunDirectory, epoch: int, distances: np.ndarray) -> dict[str, Any]:
        self.model.set_weights(self.weights(run, epoch))
        cut = eigenvector_cut(self.model, *self.data, distances, sub_batch_size=self.sub_batch_size)
        return {
            "distances": cut.distances.tolist(),
            "losses": cut.losses.tolist(),
            "eigenvalue": float(cut.eigenvalue),
            "residual": float(cut.residual),
        }

    def around(self, grid: Grid, seed: int = 0) -> np.ndarray:
        """Evaluates the loss over two random, filter-normalised directions around the first run's end."""
        self.model.set_weights(self.weights(self.runs[0]))
        variables = self.model.trainable_variables
        directions = [filter_normalised(variables, 2 * seed + number) for number in (0, 1)]
        return self._surface(directions, grid)

    def _surface(self, directions: Any, grid: Grid, **options: Any) -> np.ndarray:
        coordinates = grid.coordinates()
        x, y = self.data
        losses = losses_at(
            self.model, x, y, directions, coordinates, sub_batch_size=self.sub_batch_size, **options
        )
        return losses.reshape(grid.points, grid.points)


def config_of(run: RunDirectory) -> ml_collections.ConfigDict:
    """Returns the configuration of a run as a recipe has it; keys that it does not have are at their defaults.

    Raises:
        FileNotFoundError: If it is no run of a recipe.
    """
    if not run.config_json.exists():
        raise FileNotFoundError(2, "no config.json: it is no run of tflbt.train", str(run.path))
    return stored.from_plain(run.config, default_config())
