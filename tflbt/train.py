"""Trains a recipe into a run directory, or goes on with an interrupted run.

python -m tflbt.train --config=hparams/digits_resnet.py:two_phase_lars --workdir=runs/first
horovodrun -np 2 python -m tflbt.train --config=hparams/FILE.py:VARIANT --workdir=DIR --config.epochs=20
horovodrun -np 2 python -m tflbt.train --config=hparams/FILE.py:VARIANT --workdir=DIR --resume
"""

from __future__ import annotations

from typing import Any

from absl import flags, logging

from tflbt import command_line

flags.adopt_module_key_flags(command_line)  # so that --help shows them


def train(config: Any, workdir: Any, *, resume: bool = False, data_dir: str | None = None) -> Any:
    """Trains a recipe and leaves a run directory: metrics, checkpoints, TensorBoard, figures, report.

    Under Horovod every rank must call it alike.

    Args:
        config: A recipe's `ConfigDict` (see `tflbt.recipes.default_config`).
        workdir: The run directory's path, which must not hold a run unless `resume`.
        resume: Go on where the newest good checkpoint ends; the result equals an uninterrupted run's. A run that has
            all its epochs is left as it is.
        data_dir: Where the data sets lie.

    Returns:
        Keras's History of the epochs trained now; None if there were none left.

    Raises:
        ValueError: If the configuration cannot be, or is another than that of the run to resume.
        OSError: If data, the run directory or a checkpoint cannot be read or written.
        FloatingPointError: If the loss is NaN or infinite.
        RestartNeeded: If the run is to go on in another job; a SystemExit with status 76, at which no report is
            written.
    """
    from tflbt.distributed import comm, elastic_worker, membership
    from tflbt.distributed.restart import RestartNeeded
    from tflbt.recipes import build, run

    build.prepare_process(config)
    resume = resume or elastic_worker.must_resume()
    recipe = build.build(config, data_dir)
    chief = comm.is_chief()  # now, for after another rank's death Horovod could not say
    directory = run.claim(workdir, config, resume)
    goes_on = False
    try:
        return recipe.fit(directory=directory, resume=resume)
    except RestartNeeded:
        goes_on = True
        raise
    finally:
        chief = comm.is_chief() if membership.elastic() else chief  # the first one may have died
        if chief and not goes_on and directory.metrics_csv.exists() and not _is_current(directory):
            _write_report(directory)


def _is_current(directory: Any) -> bool:
    """Says whether the report is newer than the metrics that it shows."""
    try:
        return directory.report_html.stat().st_mtime_ns >= directory.metrics_csv.stat().st_mtime_ns
    except OSError:
        return False


def _write_report(directory: Any) -> None:
    """Writes figures and page; a failure here must not hide how the training ended."""
    from tflbt import report

    try:
        print(f"report: {report.write(directory)}", flush=True)
    except Exception as error:  # noqa: BLE001
        logging.error(
            "the report could not be written: %s (python -m tflbt.report_run writes it later)",
            error,
        )


def main() -> None:
    """Trains what the flags say."""
    train(
        command_line.CONFIG.value,
        command_line.WORKDIR.value,
        resume=command_line.RESUME.value,
        data_dir=command_line.DATA_DIR.value,
    )


if __name__ == "__main__":
    command_line.run(main, required=("config", "workdir"))
