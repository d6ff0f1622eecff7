"""Running a function on several processes that talk to each other over gloo on the CPU."""

import contextlib
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from commands import preload_server

TIMEOUT_S = 120


def run_on(world: int, function: Callable[..., Any], *args: Any) -> list[Any]:
    """What `function(*args)` returned on each of `world` processes, in the order of their ranks.

    The function must stand at the top of a module, and return tensors, numbers, strings or lists and dicts of these.
    The first exception in any of them is raised here as a RuntimeError with its traceback.
    """
    preload_server()
    with tempfile.TemporaryDirectory() as folder:
        try:
            mp.start_processes(on_rank, (world, folder, function, args), nprocs=world, start_method="forkserver")
        except Exception as error:
            first = Path(folder) / "error.txt"
            raise RuntimeError(first.read_text() if first.exists() else str(error)) from None
        return [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(world)]


def on_rank(rank: int, world: int, folder: str, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    store, limit = f"file://{folder}/store", timedelta(seconds=TIMEOUT_S)
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=world, timeout=limit)
    try:
        torch.save(function(*args), Path(folder) / f"{rank}.pt")
        dist.barrier()  # nobody leaves while another still wants something
    except Exception:
        with contextlib.suppress(FileExistsError), open(f"{folder}/error.txt", "x") as file:
            file.write(traceback.format_exc())  # the others then fail for want of this one, which explains nothing
        raise
    finally:
        dist.destroy_process_group()
