"""A piece of work that two processes share."""

import os
from datetime import timedelta

import torch
from torch import distributed
from torch import multiprocessing as processes


def two(work, folder):
    """work(folder, rank) in two processes that meet in the folder; `work` is a function of a module."""
    other = processes.spawn(part, (work, folder), nprocs=1, join=False)  # is rank 0
    part(1, work, folder)
    other.join()


def part(rank, work, folder):
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    limit = timedelta(minutes=5)
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2, timeout=limit)
    try:
        work(folder, rank)
    finally:
        distributed.destroy_process_group()
