"""Split records at random with ``datasets``, stratified by label.

Arguments: a pattern of Parquet files, the share of the test part, a scratch folder. The last line
printed is a JSON object with the ids of the test part.
"""

import json
import sys

import datasets


def main(pattern: str, share: str, scratch: str) -> None:
    datasets.disable_progress_bars()
    records = datasets.load_dataset("parquet", data_files=pattern, split="train", cache_dir=scratch)
    parts = records.class_encode_column("label").train_test_split(
        test_size=float(share), stratify_by_column="label", seed=0
    )
    print(json.dumps({"test": list(parts["test"]["id"])}))


if __name__ == "__main__":
    main(*sys.argv[1:])
