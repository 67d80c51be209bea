"""Peers live in environments of their own, so that their pins are not the workbench's.

``benchmarks/peers/NAME.txt`` lists what a peer needs, ``benchmarks/peers/NAME_*.py`` are the
scripts that run it. A peer's environment is built once, under ``.peers/`` in the checkout.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

_SCRIPTS = Path(__file__).parent / "peers"
_ENVIRONMENTS = Path(__file__).parents[1] / ".peers"


def peer_python(name: str) -> Path:
    """Return the interpreter of a peer's environment, building it on first use."""
    wanted = (_SCRIPTS / f"{name}.txt").read_text()
    folder = _ENVIRONMENTS / f"{name}-{hashlib.sha256(wanted.encode()).hexdigest()[:8]}"
    python = folder / "bin" / "python"
    done = folder / "complete"
    if not done.exists():
        print(f"installing {name} into {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "-r", _SCRIPTS / f"{name}.txt"],
            check=True, stdout=sys.stderr,
        )  # fmt: skip
        done.touch()
    return python


def run_peer(name: str, script: str, *arguments: str) -> dict[str, Any]:
    """Run a peer's script; return the JSON object that is the last line it prints."""
    command = [peer_python(name), _SCRIPTS / script, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer
