"""``python -m benchmarks NAME [--full]``: run one benchmark, or with --full and no name all."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

_FOLDER = Path(__file__).parent


def main() -> int:
    names = sorted(p.stem for p in _FOLDER.glob("*.py") if not p.stem.startswith("_"))
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", choices=names, help="which benchmark")
    parser.add_argument("--full", action="store_true", help="no limit of time: more repetitions")
    options = parser.parse_args()
    if options.name is None and not options.full:
        parser.error(f"name a benchmark: {', '.join(names)}")
    for name in [options.name] if options.name else names:
        importlib.import_module(f"benchmarks.{name}").main(full=options.full)
    return 0


if __name__ == "__main__":
    sys.exit(main())
