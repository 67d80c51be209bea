"""One rank of a peer's gang: what torchrun and Ray Train both run, and how they tell of it.

A rank appends JSON lines ``{"what", "time", "rank", "pid", "step"}`` to a log: ``ready`` when it
has joined the others and holds its model (and state), ``stepped`` after its first step, ``saved``
after each checkpoint.
"""

import json
import os
import time
from pathlib import Path

import torch
import torch.distributed as dist
from transformers import AutoModelForSequenceClassification
from transformers.utils import logging

NUM_ROWS, NUM_TOKENS = 8, 16  # of one rank's step
STEPS_PER_CHECKPOINT = 10


class Log:
    def __init__(self, file):
        self.file = file

    def say(self, what, step=0):
        line = {"what": what, "time": time.time(), "rank": dist.get_rank(), "pid": os.getpid(),
                "step": step}  # fmt: skip
        with Path(self.file).open("a") as stream:
            stream.write(json.dumps(line) + "\n")


def load(model_folder):
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return AutoModelForSequenceClassification.from_pretrained(model_folder, dtype=torch.float32)


def launch(model_folder, log):
    """Load the model, say so, and end."""
    load(model_folder)
    log.say("ready")


def train(model_folder, log, checkpoints):
    """Train from the newest checkpoint on until a file ``LOG.stop`` appears.

    ``checkpoints`` has ``newest()``, which returns a state or None, and ``save(state)``, which all
    ranks call with the same step.
    """
    model = load(model_folder)
    parallel = torch.nn.parallel.DistributedDataParallel(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    step = first = _restore(checkpoints.newest(), model, optimiser)
    log.say("ready", step)
    stop = torch.zeros(1)
    while not stop:
        tokens = torch.randint(1000, 20_000, (NUM_ROWS, NUM_TOKENS))
        parallel(tokens, labels=torch.zeros(NUM_ROWS, dtype=torch.int64)).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        stop[0] = Path(f"{log.file}.stop").exists()
        dist.all_reduce(stop)  # all ranks end at the same step
        step += 1
        if step == first + 1:
            log.say("stepped", step)
        if step % STEPS_PER_CHECKPOINT == 0:
            checkpoints.save(lambda: _state(step, model, optimiser))  # noqa: B023 (called at once)
            log.say("saved", step)


def _state(step, model, optimiser):
    return {"step": step, "model": model.state_dict(), "optimiser": optimiser.state_dict()}


def _restore(state, model, optimiser):
    if state is None:
        return 0
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    return state["step"]
