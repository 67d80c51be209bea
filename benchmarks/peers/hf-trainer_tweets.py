"""HF Trainer, or a plain Accelerate loop, fine-tuning on the given rows; one JSON line.

Arguments: model folder, data folder, number of labels, ``trainer``, ``trainer-tuned`` or
``accelerate``, records a rank and step, number of steps, file for the result.

``trainer`` is what its documentation shows: padding to the longest of a batch, float32.
``trainer-tuned`` groups by length and computes in bf16. ``accelerate`` is the loop of its
documentation in bf16.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import torch
from training_data import Rows, padded
from transformers import (
    AutoModelForSequenceClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.utils import logging


class Clock(TrainerCallback):
    def __init__(self):
        self.times = [time.perf_counter()]

    def on_step_end(self, *_args, **_kwargs):
        self.times.append(time.perf_counter())


def by_trainer(model, data, rows, steps, *, is_tuned):
    clock = Clock()
    with tempfile.TemporaryDirectory() as scratch:
        tuned = {"bf16": True, "train_sampling_strategy": "group_by_length"} if is_tuned else {}
        arguments = TrainingArguments(
            output_dir=scratch, per_device_train_batch_size=rows, max_steps=steps, use_cpu=True,
            learning_rate=1e-5, save_strategy="no", report_to=[], disable_tqdm=True,
            logging_steps=10, optim="adamw_torch_fused", ddp_backend="gloo", **tuned,
        )  # fmt: skip
        trainer = Trainer(model, arguments, train_dataset=data, data_collator=padded,
                          callbacks=[clock])  # fmt: skip
        trainer.train()
    return clock.times


def by_accelerate(model, data, rows, steps):
    from accelerate import Accelerator

    accelerator = Accelerator(mixed_precision="bf16", cpu=True)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    loader = torch.utils.data.DataLoader(data, batch_size=rows, shuffle=True, collate_fn=padded)
    model, optimiser, loader = accelerator.prepare(model, optimiser, loader)
    model.train()
    times = [time.perf_counter()]
    while len(times) <= steps:
        for batch in loader:
            loss = model(**batch).loss
            accelerator.backward(loss)
            optimiser.step()
            optimiser.zero_grad()
            times.append(time.perf_counter())
            if len(times) > steps:
                break
    return times


def main(model_folder, data_folder, num_labels, kind, rows, steps, result):
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(
        model_folder, num_labels=int(num_labels), dtype=torch.float32
    )
    data, rows, steps = Rows(data_folder), int(rows), int(steps)
    if kind == "accelerate":
        times = by_accelerate(model, data, rows, steps)
    else:
        times = by_trainer(model, data, rows, steps, is_tuned=kind == "trainer-tuned")
    if torch.distributed.get_rank() == 0:
        Path(result).write_text(json.dumps({"times": times}))


if __name__ == "__main__":
    main(*sys.argv[1:])
