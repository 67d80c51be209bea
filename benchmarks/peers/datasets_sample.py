"""Take records with ``datasets``: shuffle, select, write as Parquet.

Arguments: a pattern of Parquet files, how many records to take, a scratch folder. Making its Arrow
cache is timed apart; the last line printed is a JSON object with processor seconds.
"""

import json
import os
import sys
from pathlib import Path

import datasets


def cpu_seconds() -> float:
    return sum(os.times()[:4])


def main(pattern: str, size: str, scratch: str) -> None:
    datasets.disable_progress_bars()
    folder = Path(scratch)
    start = cpu_seconds()
    records = datasets.load_dataset(
        "parquet", data_files=pattern, split="train", cache_dir=str(folder / "cache")
    )
    loaded = cpu_seconds()
    chosen = records.shuffle(seed=0).select(range(int(size)))
    chosen.to_parquet(str(folder / "sample.parquet"))
    taken = cpu_seconds()
    print(json.dumps({"load": loaded - start, "take": taken - loaded, "rows": len(chosen)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
