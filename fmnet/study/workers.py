"""Worker processes that end when the process that started them does, however it ends."""

import os
import threading
from multiprocessing import parent_process
from multiprocessing.connection import wait

import torch


def start_worker(threads: int) -> None:
    """Set up a fresh worker: how many threads it computes with, and whose end is its own."""
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
