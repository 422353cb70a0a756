"""Titles and captions of the figures of report.html."""

from __future__ import annotations

from tflbt.report.measures import radii, updates
from tflbt.report.schedule_figures import changes
from tflbt.runs.history import History

# Titles and captions of what rules and monitors measure.
_MEASURES = {figure.name: (figure.title, figure.caption) for figure in updates.FIGURES}
_MEASURES["radii"] = (radii.TITLE, radii.CAPTION)
# Figures that take up a whole row of the page.
WHOLE = (
    "learning_rate",
    "eigenvalue",
    "batch_size",
    "ranks",
    "adversarial_ratio",
    "stability",
    *_MEASURES,
    "margin",
    "diffusion",
    "time_account",
)
_TITLES = {
    "loss": "Loss",
    "accuracy": "Accuracy",
    "learning_rate": "Learning rate",
    "eigenvalue": "Largest Hessian eigenvalue",
    "batch_size": "Batch size",
    "ranks": "Ranks",
    "adversarial_ratio": "Adversarial samples",
    "stability": "Stability of SGD",
    "margin": "Margin and loss",
    "diffusion": "Distance from the initial weights",
    "time_account": "Where the time went",
}
_MARGIN = (
    "The sum of the distances of training inputs from the decision boundary, of those between the quartiles, and the "
    "training loss. The dotted line is the first epoch after ten without an improvement of the loss."
)
_DIFFUSION = (
    "The length of the difference between the weights and those before the first update, against the number of "
    "updates on a logarithmic axis. A straight line is ultra-slow diffusion, D = a + c log t; on a flat potential D "
    "grows as the square root of t, dotted. Both are fitted to what was measured after the warm-up; slope is that of "
    "log D against log t, 1/2 where the potential is flat."
)
# With a two-phase schedule, and without.
_CAPTIONS = {
    "margin": (_MARGIN, _MARGIN),
    "diffusion": (_DIFFUSION, _DIFFUSION),
    "loss": (
        "Mean loss of each epoch; exploration ends some epochs after the training loss has reached a plateau.",
        "Mean loss of each epoch.",
    ),
    "learning_rate": (
        "The learning rate stays large in the exploration phase; in the convergence phase it "
        "decays whenever loss and eigenvalue have risen together.",
        "The learning rate of each epoch's last update; dashed lines mark its decays.",
    ),
    "eigenvalue": (
        "The sharpness of the loss at each epoch's end, by power iteration on the output layer; risen together with "
        "the loss, it decays the learning rate.",
        "The sharpness of the loss at each epoch's end, by the Hessian of the layers that were measured.",
    ),
}


def title(name: str, history: History) -> str:
    """Returns the title of a figure that `figures.draw` names."""
    if name == "accuracy" and history.metric:
        return history.metric.replace("_", " ").capitalize()
    if name == "batch_size" and history.has("learning_rate"):
        return "Batch size and learning rate"
    return _MEASURES[name][0] if name in _MEASURES else _TITLES.get(name, name)


def caption(name: str, history: History) -> str:
    """Returns a sentence or two on what a figure shows, in the papers' words."""
    if name in _CAPTIONS:
        return _CAPTIONS[name][0 if history.has_phases else 1]
    if name in _MEASURES:
        return _MEASURES[name][1]
    if name == "accuracy":
        what = (history.metric or "").replace("_", " ")
        return f"The {what} on the training samples, and on the validation samples after the epoch."
    if name == "ranks":
        return "How many ranks trained in each epoch: they come with a batch that grows, and go."
    if name == "adversarial_ratio":
        return "The share of each batch that was replaced by adversarial samples."
    if name == "stability":
        return _of_stability(history)
    if name == "time_account":
        return _of_time(history)
    return _of_batch(history)


def _of_time(history: History) -> str:
    """Describes the bars of the time account."""
    many = len(history.rows) > 1
    what = "The seconds of each epoch, and their shares in the whole run," if many else "Seconds"
    return (
        f"{what} by the first rank's clock: computation is forward and backward passes and optimizer steps, "
        "communication the all-reduces of the updates with the wait for slower ranks, input the wait for samples; "
        "other holds what was not measured, such as the tracing of the first epoch."
    )


def _of_stability(history: History) -> str:
    """Describes the lines of the stability figure."""
    momentum = history.has("stability_limit_momentum")
    limit = "; the dashed limit is that with the optimizer's momentum" if momentum else ""
    return (
        "The largest Hessian eigenvalue of the mini-batches measured, λmax, and their mean. Plain SGD converges near a "
        "minimum that fits every sample where λmax < 2 / learning rate"
        f"{limit}."
    )


def _of_batch(history: History) -> str:
    """Describes the panels of a run whose batch size changes."""
    columns = {
        "ranks": "the number of ranks",
        "learning_rate": "the learning rate",
        "eigenvalue": "the Hessian eigenvalue that was measured",
        "adversarial_ratio": "the share of adversarial samples",
    }
    columns = {column: words for column, words in columns.items() if history.has(column)}
    if not changes(history, "ranks"):
        columns.pop("ranks", None)
    *most, last = list(columns.values()) or [""]
    panels = f"; below, {', '.join(most)}{' and ' if most else ''}{last}" if last else ""
    return (
        f"Samples that one update sees, over all ranks and sub-batches{panels}. "
        "Dotted lines mark where the batch grew."
    )
