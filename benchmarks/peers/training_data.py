"""What the peers' trainings learn from: rows of tokens that a benchmark has written down.

``ids.npy``, ``starts.npy`` and ``labels.npy`` are the workbench's token set; ``steps.json`` has for
each step and rank the numbers of its rows, or is not there.
"""

import json
from pathlib import Path

import numpy as np
import torch


class Rows(torch.utils.data.Dataset):
    def __init__(self, folder):
        folder = Path(folder)
        self.ids = np.load(folder / "ids.npy", mmap_mode="r")
        self.starts = np.load(folder / "starts.npy")
        self.labels = np.load(folder / "labels.npy")
        steps = folder / "steps.json"
        self.steps = json.loads(steps.read_text()) if steps.exists() else []

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, number):
        ids = self.ids[self.starts[number] : self.starts[number + 1]]
        return {"input_ids": ids.astype(np.int64).tolist(), "labels": int(self.labels[number]),
                "attention_mask": [1] * len(ids)}  # fmt: skip


def padded(rows, pad_id=0):
    """Return rows as one batch, padded to the longest: what ``DataCollatorWithPadding`` does."""
    longest = max(len(row["input_ids"]) for row in rows)
    batch = {
        name: torch.tensor([row[name] + [fill] * (longest - len(row[name])) for row in rows])
        for name, fill in (("input_ids", pad_id), ("attention_mask", 0))
    }
    return {**batch, "labels": torch.tensor([row["labels"] for row in rows])}
