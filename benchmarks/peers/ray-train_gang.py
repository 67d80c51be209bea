"""A warm Ray cluster that trains when told: ``ray-train_gang.py FOLDER``.

Reads JSON lines ``{"what": "launch" or "train", "model": folder, "log": file}``. Says
``{"begun": time}`` when Ray is up and before each ``fit()``, ``{"ended": error or null}`` after.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
os.environ["OMP_NUM_THREADS"] = "1"
_ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # Ray prints where the answers go

import ray  # noqa: E402
import ray.train  # noqa: E402
from ray.train import (  # noqa: E402
    Checkpoint,
    CheckpointConfig,
    FailureConfig,
    RunConfig,
    ScalingConfig,
)
from ray.train.torch import TorchConfig, TorchTrainer  # noqa: E402


class Checkpoints:
    """Ray's own, of which it keeps two."""

    def newest(self):
        import torch

        found = ray.train.get_checkpoint()
        if found is None:
            return None
        with found.as_directory() as folder:
            return torch.load(f"{folder}/state.pt")

    def save(self, make_state):
        import torch

        with tempfile.TemporaryDirectory() as folder:
            checkpoint = None
            if ray.train.get_context().get_world_rank() == 0:
                torch.save(make_state(), f"{folder}/state.pt")
                checkpoint = Checkpoint.from_directory(folder)
            ray.train.report({}, checkpoint=checkpoint)


def work(order):
    """Be one rank; Ray has joined it to the others."""
    from gang_training import Log, launch, train

    log = Log(order["log"])
    if order["what"] == "launch":
        launch(order["model"], log)
    else:
        train(order["model"], log, Checkpoints())


def answer(**facts):
    print(json.dumps(facts), file=_ANSWERS, flush=True)


def main(folder):
    variables = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}
    ray.init(
        num_cpus=4, include_dashboard=False, log_to_driver=False, configure_logging=False,
        runtime_env={"env_vars": variables},
    )  # fmt: skip
    answer(begun=time.time())
    for number, line in enumerate(sys.stdin):
        trainer = TorchTrainer(
            work,
            train_loop_config=json.loads(line),
            torch_config=TorchConfig(backend="gloo"),
            scaling_config=ScalingConfig(num_workers=2, use_gpu=False),
            run_config=RunConfig(
                name=f"run-{number}",
                storage_path=folder,
                failure_config=FailureConfig(max_failures=-1),
                checkpoint_config=CheckpointConfig(num_to_keep=2),
            ),
        )
        answer(begun=time.time())
        error = None
        try:
            trainer.fit()
        except Exception as caught:
            error = repr(caught)
        answer(ended=error)
    ray.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
