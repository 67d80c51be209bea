"""datatrove's four MinHash stages on one Parquet file, its defaults, English, one process.

Prints the processor seconds from the texts read to the kept rows written, and how many those are.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import ParquetWriter
from datatrove.utils.text import split_into_words
from loguru import logger


def main(source: str, scratch: str) -> None:
    logger.remove()
    split_into_words("The tokeniser is loaded before the clock starts.")
    config = MinhashConfig()
    folder = Path(scratch)
    before = sum(os.times()[:4])
    MinhashDedupSignature(f"{folder}/signatures", config=config).run(_read(source), 0, 1)
    for bucket in range(config.num_buckets):
        MinhashDedupBuckets(f"{folder}/signatures", f"{folder}/buckets", config=config).run(
            None, bucket, config.num_buckets
        )
    MinhashDedupCluster(f"{folder}/buckets", f"{folder}/removed", config=config).run(None, 0, 1)
    kept = MinhashDedupFilter(f"{folder}/removed").run(_read(source), 0, 1)
    with ParquetWriter(f"{folder}/kept") as writer:
        num_kept = 0
        for document in kept:
            writer.write(document, rank=0)
            num_kept += 1
    seconds = sum(os.times()[:4]) - before
    print(json.dumps({"cpu_seconds": seconds, "kept": num_kept}))


def _read(source: str):
    path = Path(source)
    return ParquetReader(str(path.parent), glob_pattern=path.name).run(None, 0, 1)


main(*sys.argv[1:])
