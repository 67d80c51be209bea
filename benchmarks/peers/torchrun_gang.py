"""A rank under torchrun: ``torchrun ... torchrun_gang.py {launch,train} MODEL LOG``.

All attempts of an agent share one TCPStore server, and torch 2.13 gives their workers no prefix: a
restarted gang finds the keys of the one before and waits for ranks that are dead. So each attempt
gets a prefix here.
"""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from gang_training import Log, launch, train


class Checkpoints:
    """One file, replaced by rank 0."""

    def __init__(self, file):
        self._file = Path(file)

    def newest(self):
        return torch.load(self._file) if self._file.exists() else None

    def save(self, make_state):
        if dist.get_rank() == 0:
            partial = self._file.with_suffix(".partial")
            torch.save(make_state(), partial)
            partial.replace(self._file)


def join():
    server = dist.TCPStore(
        os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False
    )
    store = dist.PrefixStore(f"attempt-{os.environ['TORCHELASTIC_RESTART_COUNT']}", server)
    dist.init_process_group(
        "gloo", store=store, rank=int(os.environ["RANK"]), world_size=int(os.environ["WORLD_SIZE"])
    )


def main(what, model_folder, log_file):
    join()
    log = Log(log_file)
    if what == "launch":
        launch(model_folder, log)
    else:
        train(model_folder, log, Checkpoints(f"{log_file}.checkpoint"))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
