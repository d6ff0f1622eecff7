"""Where a run's figures go: CSV, TensorBoard and the terminal; of several processes the first one writes."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from unreel.training.finite import FiniteCheck
from unreel.training.monitors import Monitors
from unreel.training.progress import Progress
from unreel.training.quarantine import RunQuarantine
from unreel.training.run import Table
from unreel.training.team import ALONE, Team
from unreel.types import StepOutput

if TYPE_CHECKING:
    from unreel.training.loop import Job


@dataclass(frozen=True)
class Unread:
    """Figures of a step that are still on the device: float32 (len(names),), and what the CPU knows of that step."""

    done: int
    lr: float
    rows: list[int]
    names: tuple[str, ...]
    values: torch.Tensor


class Files:
    """The files of a run that grow, cut back to what is not done again."""

    def __init__(self, run: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.table, self.monitors = Table(run / "metrics.csv", step), Table(run / "monitors.csv", step)
        self.board = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)


class Log:
    """Takes in a step's figures where they are, reads those of several steps back in one piece, writes their means."""

    def __init__(self, job: "Job", quiet: bool, team: Team = ALONE) -> None:
        step = job.state["step"]
        self.job, self.team, self.unread = job, team, list[Unread]()
        self.finite = FiniteCheck(job.run, job.instances, job.settings.read_back == "each-log")
        self.progress = Progress(job.total_steps, step, quiet or not team.main)
        self.quarantine = RunQuarantine(job.run, job.files, job.settings.max_bad_share, writes=team.main)
        self.files = Files(job.run, step) if team.main else None
        if self.quarantine.known:
            bad = len(self.quarantine.known)
            self.progress.say(f"{bad} of {job.files} files can't be used and are left out, see {self.quarantine.path}")

    def step(self, done: int, output: StepOutput, grad_norm: torch.Tensor, lr: float, rows: list[int]) -> None:
        """Keep the figures of a step on instances `rows`; every `log_steps`, and at the end, read them."""
        values = {"loss": output.loss, **output.logs, "grad_norm": grad_norm}
        stacked = torch.stack([value.detach().float() for value in values.values()])
        self.unread.append(Unread(done, lr, rows, tuple(values), stacked))
        if done % self.job.settings.log_steps == 0 or done == self.job.total_steps:
            self.read_back()

    def read_back(self) -> None:
        """Wait for the device and take in what it holds; NonFiniteError names the first step that was not finite."""
        unread, self.unread = self.unread, []
        values = self.team.mean(torch.cat([one.values for one in unread]).tolist()) if unread else []
        for one in unread:
            figures = dict(zip(one.names, values, strict=False))
            del values[: len(one.names)]
            self.finite.look(figures, one.done - 1, one.rows)
            self.take(one, figures)

    def take(self, one: Unread, values: dict[str, float]) -> None:
        """Gather a step; every `log_steps` write a row: means, rate and the share of time spent waiting for data."""
        rows = self.team.size * len(one.rows)
        means = self.progress.gather(values, rows, one.done, self.job.settings.log_steps)
        if means is None or self.files is None:
            return
        row = {"step": one.done, "epoch": round(one.done / self.job.epoch_steps, 3), "lr": one.lr, **means}
        self.files.table.add({k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in row.items()})
        for name, value in row.items():
            self.files.board.add_scalar(f"train/{name}", value, one.done)
        self.progress.line(one.done, row)

    def monitors(self, done: int, found: Monitors) -> None:
        row = {
            "step": done,
            "epoch": round(done / self.job.epoch_steps, 3),
            **dataclasses.asdict(found),
            "collapsed": found.collapsed,
        }
        if self.files is not None:
            self.files.monitors.add(row)
            for name, value in row.items():
                self.files.board.add_scalar(f"monitors/{name}", float(value), done)
            self.files.board.flush()
        self.progress.monitors(done, found)

    def close(self) -> None:
        if self.files is not None:
            self.files.board.close()
