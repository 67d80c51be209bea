"""A teacher's answers to every text, one rank's share of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch  # noqa: TID253 (only ranks import this module, when work starts)

from workbench.models.checkpoint import open_classifier
from workbench.models.embed import mean_pool
from workbench.models.folder import read_json
from workbench.models.text_encoder import length_batches
from workbench.train.batches import Rows
from workbench.train.options import ScoreJob
from workbench.train.ranks import Ranks, Reporter
from workbench.train.token_set import TokenSet, open_token_set

SHARD_ROWS = 2048


def score(job_file: str, ranks: Ranks, reporter: Reporter) -> None:
    """Write this rank's shards: ``logits.npy`` float32 [rows, labels], ``hidden.npy`` float16.

    ``hidden`` [rows, width] is the mean of the last hidden states. A shard that an earlier attempt
    wrote is left as it is; the rank stops between two batches when the stage asks.
    """
    job = ScoreJob.model_validate(read_json(Path(job_file)))
    rows = open_token_set(job.token_set)
    model = open_classifier(job.model).eval()
    reporter.tell("ready")
    num_shards = -(-len(rows) // SHARD_ROWS)
    for shard in range(ranks.rank, num_shards, ranks.world):
        folder = job.target / f"shard-{shard:06d}"
        numbers = np.arange(shard * SHARD_ROWS, min((shard + 1) * SHARD_ROWS, len(rows)))
        if not folder.exists() and not _score_shard(model, rows, numbers, job, folder, ranks):
            return
        reporter.tell("scored", rows=len(numbers))


def _score_shard(
    model: torch.nn.Module, rows: TokenSet, numbers: Rows, job: ScoreJob, folder: Path,
    ranks: Ranks,
) -> bool:  # fmt: skip
    """Write one shard; return False, and write nothing, when the gang shall stop."""
    pad_id = int(model.config.pad_token_id or 0)  # type: ignore[union-attr, arg-type]
    logits: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = []
    hidden: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = []
    parts = list(length_batches(rows.lengths[numbers]))
    for part in parts:
        if (job.work / "stop").exists():
            return False
        padded = rows.pad(numbers[part], pad_id)
        inputs = {name: torch.from_numpy(array) for name, array in padded.items()}
        with ranks.clock("forward"), torch.inference_mode():
            output = model(**inputs, output_hidden_states=job.with_hidden)
            logits.append(output.logits.numpy())
            if job.with_hidden:
                pooled = mean_pool(output.hidden_states[-1], inputs["attention_mask"])
                hidden.append(pooled.numpy())
    partial = job.work / f"{folder.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    back = np.argsort(np.concatenate(parts))
    np.save(partial / "logits.npy", np.concatenate(logits)[back])
    if job.with_hidden:
        np.save(partial / "hidden.npy", np.concatenate(hidden)[back].astype(np.float16))
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial.rename(folder)
    return True
