"""How far training has come since `compile`: which randomness the next epoch draws, and where its samples begin."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Progress:
    """What a model's next `fit` must know of those before.

    The random numbers of an epoch (order of samples, augmentation, dropout) depend on the seed and the number of the
    epoch's draw. A `fit` that begins with Keras's epoch e after T epochs have drawn begins with draw max(e, T), so that

    - no draw is made twice: a second `fit(epochs=3)` has draws 3, 4, 5;
    - after a `compile`, `fit(initial_epoch=e)` has those of an uninterrupted run.

    Attributes:
        drawn: T, epochs drawn and finished since `compile` (the last draw + 1).
        finished: The number of epochs that were finished last, as Keras counts.
        carried: Samples of that epoch that were left over for the next.

    Example:
        >>> Progress().first_draw(0), Progress().first_draw(5)
        (0, 5)
        >>> Progress(drawn=3, finished=3).first_draw(0), Progress(drawn=3, finished=3).first_draw(5)
        (3, 5)
    """

    drawn: int = 0
    finished: int = 0
    carried: int = 0

    def first_draw(self, epoch: int) -> int:
        """The draw of a `fit` that begins with Keras's epoch."""
        return max(self.drawn, epoch)

    def carried_into(self, epoch: int, samples: int, batch_size: int) -> int:
        """Samples carried over into a `fit` that begins with Keras's epoch and carries.

        Where that epoch is not the next, as after weights alone were restored, the batch size counts as constant.
        """
        if epoch == 0:
            return 0
        return self.carried if epoch == self.finished else epoch * samples % batch_size
