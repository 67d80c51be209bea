"""Bare torchrun: DistributedDataParallel, AdamW, a schedule, the batches it is told; one JSON line.

Arguments: model folder, data folder, number of labels, precision, file for the result.
"""

import contextlib
import json
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from training_data import Rows, padded
from transformers import AutoModelForSequenceClassification
from transformers.utils import logging


def main(model_folder, data_folder, num_labels, precision, result):
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(
        model_folder, num_labels=int(num_labels), dtype=torch.float32
    )
    model.train()
    parallel = torch.nn.parallel.DistributedDataParallel(
        model, gradient_as_bucket_view=True, find_unused_parameters=False
    )
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}],
        lr=1e-5, fused=True,
    )  # fmt: skip
    data = Rows(data_folder)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / 10_000)
    seconds = []
    begun = time.perf_counter()
    for step in data.steps:
        batch = padded([data[number] for number in step[dist.get_rank()]])
        cast = torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else None
        with cast or contextlib.nullcontext():
            loss = parallel(**batch).loss
        loss.backward()
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        float(loss.detach())
        now = time.perf_counter()
        seconds.append(now - begun)
        begun = now
    if dist.get_rank() == 0:
        Path(result).write_text(json.dumps({"seconds": seconds}))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
