"""A script for SLURM that runs the members of a sweep as an array of jobs."""

import shlex
from pathlib import Path

from unreel.verbs.sweep.launching import build_member_command
from unreel.verbs.sweep.member import LOGS

TASK = "$SLURM_ARRAY_TASK_ID"


def format_slurm_script(out: Path, num_members: int, jobs: int, threads: int, on_gpu: bool) -> str:
    """An array of one job for each member, `jobs` at a time; add what your cluster asks for (account, time).

    SIGTERM comes two minutes before the limit: the member saves, ends with exit code 130, and is queued again.
    """
    command = build_member_command(out.resolve(), TASK)
    words = " ".join('"$SLURM_ARRAY_TASK_ID"' if word == TASK else shlex.quote(word) for word in command)
    lines = [
        "#!/bin/bash",
        "#SBATCH --job-name=unreel-sweep",
        f"#SBATCH --array=0-{num_members - 1}%{jobs}",
        f"#SBATCH --ntasks=1 --cpus-per-task={threads}{' --gpus-per-task=1' if on_gpu else ''}",
        f"#SBATCH --output={out.resolve() / LOGS}/slurm-%a.log --open-mode=append",
        "#SBATCH --requeue --signal=B:TERM@120",
        f"# when all are done: unreel sweep {shlex.quote(str(out.resolve()))} --show",
        "trap 'kill -TERM $member' TERM",
        f"{words} &",
        "member=$!",
        "wait $member || wait $member",
        "code=$?",
        '[ $code -eq 130 ] && scontrol requeue "$SLURM_ARRAY_JOB_ID"_"$SLURM_ARRAY_TASK_ID"',
        "exit $code",
    ]
    return "\n".join(lines) + "\n"
