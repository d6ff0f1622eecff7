"""Logs a run's metrics to CSV, TensorBoard, Weights & Biases and the terminal; of several processes rank 0 writes."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch

from unreel.training.job import TrainingJob
from unreel.training.monitors import MonitorMetrics
from unreel.training.nan_guard import NanGuard
from unreel.training.progress_bar import TrainingProgress
from unreel.training.run_folder.board_logs import TensorBoardLog, WandbLog
from unreel.training.run_folder.csv_log import CsvLog
from unreel.training.run_folder.quarantine import RunQuarantine
from unreel.training.runtime.distributed import SINGLE_PROCESS, ProcessGroup
from unreel.types import StepOutput


@dataclass(frozen=True)
class PendingStep:
    """Values of a step that are still on the device, float32 (len(names),), and what the CPU knows of that step."""

    steps_done: int
    lr: float
    instance_rows: list[int]
    names: tuple[str, ...]
    values: torch.Tensor


class MetricFiles:
    """The growing files of a run, cut back to the last step of which they are to tell."""

    def __init__(self, run_folder: Path, last_step: int) -> None:
        self.train_csv = CsvLog(run_folder / "metrics.csv", last_step)
        self.monitor_csv = CsvLog(run_folder / "monitors.csv", last_step)
        self.tensorboard = TensorBoardLog(run_folder, last_step)


class MetricLogger:
    """Collects values on the device, reads those of several steps back at once, and writes their means.

    A run that does not `resume` begins its files anew: one that was stopped before its first checkpoint may have some.
    """

    def __init__(
        self, job: TrainingJob, quiet: bool, group: ProcessGroup = SINGLE_PROCESS, resume: bool = True
    ) -> None:
        step = job.state.step
        self.job, self.group, self.pending_steps = job, group, list[PendingStep]()
        self.nan_guard = NanGuard(job.run_folder, job.instances, job.settings.read_back == "each-log")
        self.progress = TrainingProgress(job.total_steps, step, quiet or not group.is_rank_zero)
        self.quarantine = RunQuarantine(
            job.run_folder, job.num_files, job.settings.max_bad_share, is_writer=group.is_rank_zero
        )
        self.files = MetricFiles(job.run_folder, step if resume else -1) if group.is_rank_zero else None
        project = job.settings.wandb if self.files is not None else ""
        self.wandb = WandbLog(job.run_folder, project) if project else None
        if self.quarantine.failures:
            num_bad = len(self.quarantine.failures)
            self.progress.print_message(
                f"{num_bad} of {job.num_files} files can't be used and are left out, see {self.quarantine.path}"
            )

    def log_step(
        self, steps_done: int, output: StepOutput, grad_norm: torch.Tensor, lr: float, instance_rows: list[int]
    ) -> None:
        """Keep the values of a step on `instance_rows`; every `log_steps` and at the end, read them back."""
        values = {"loss": output.loss, **output.logs, "grad_norm": grad_norm}
        stacked = torch.stack([value.detach().float() for value in values.values()])
        self.pending_steps.append(PendingStep(steps_done, lr, instance_rows, tuple(values), stacked))
        if steps_done % self.job.settings.log_steps == 0 or steps_done == self.job.total_steps:
            self.read_back()

    def read_back(self) -> None:
        """Wait for the device and record its pending values. Raises NonFiniteError for the first that is not finite."""
        steps, self.pending_steps = self.pending_steps, []
        values = self.group.all_reduce_mean(torch.cat([step.values for step in steps]).tolist()) if steps else []
        for step in steps:
            by_name = dict(zip(step.names, values, strict=False))
            del values[: len(step.names)]
            self.nan_guard.check_logged_values(by_name, step.steps_done - 1, step.instance_rows)
            self.record_step(step, by_name)

    def record_step(self, pending: PendingStep, values: dict[str, float]) -> None:
        """Add a step to the means; every `log_steps` write a row: means, rate, and share of time waiting for data."""
        rows = self.group.world_size * len(pending.instance_rows)
        means = self.progress.accumulate_step(values, rows, pending.steps_done, self.job.settings.log_steps)
        if means is None or self.files is None:
            return
        row = self._start_row(pending.steps_done) | {"lr": pending.lr, **means}
        self.files.train_csv.append_row({k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in row.items()})
        self.files.tensorboard.log("train", row, pending.steps_done)
        if self.wandb is not None:
            self.wandb.log("train", row, pending.steps_done)
        self.progress.print_step(pending.steps_done, row)

    def log_monitors(self, steps_done: int, monitors: MonitorMetrics) -> None:
        """Write the monitors of a checkpoint to monitors.csv, TensorBoard and the terminal."""
        row = self._start_row(steps_done) | dataclasses.asdict(monitors) | {"collapsed": monitors.has_collapsed}
        if self.files is not None:
            self.files.monitor_csv.append_row(row)
            self.files.tensorboard.log("monitors", row, steps_done)
        if self.wandb is not None:
            self.wandb.log("monitors", row, steps_done)
        self.progress.print_monitors(steps_done, monitors)

    def _start_row(self, steps_done: int) -> dict[str, float]:
        return {"step": steps_done, "epoch": round(steps_done / self.job.steps_per_epoch, 3)}

    def close(self) -> None:
        if self.files is not None:
            self.files.tensorboard.close()
        if self.wandb is not None:
            self.wandb.close()
