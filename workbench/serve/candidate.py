"""A candidate: a server process of its own for a model that is not live yet."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from workbench.core.artifact import Artifact
from workbench.core.errors import ResourceError, StageError
from workbench.serve.caller import Caller
from workbench.serve.server import ENDPOINT_FILE

# Importing torch for a model that is not quantised takes many seconds on a busy machine.
START_SECONDS = 180.0
STOP_SECONDS = 30.0
_POLL_SECONDS = 0.02
_LOG_TAIL_BYTES = 4000


@contextlib.contextmanager
def candidate(
    model: Artifact, name: str, folder: Path, num_threads: int, stop_if_asked: Callable[[], None]
) -> Iterator[str]:
    """Run a server for ``model`` on a free port and yield its address once it is ready.

    It writes into ``folder`` only, and ends with the block or with this process.

    Raises:
        StageError: it did not start, is not ready or ended; ``detail`` is the end of its log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ENDPOINT_FILE).unlink(missing_ok=True)  # of an attempt that was killed
    with (folder / "server.log").open("w+b") as log:
        process = subprocess.Popen(
            _command(model, name, folder, num_threads),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            yield _wait_until_ready(process, model, folder, log, stop_if_asked)
        except ResourceError as error:
            if process.poll() is None:
                raise
            reason = f"it ended with exit code {process.returncode} during the checks"
            raise _not_accepted(model, reason, log) from error
        finally:
            _stop(process)


def _command(model: Artifact, name: str, folder: Path, num_threads: int) -> list[str]:
    return [
        sys.executable, "-m", "workbench.serve.server",
        "--model-folder", str(model.path), "--reference", model.reference, "--name", name,
        "--log-folder", str(folder), "--num-threads", str(num_threads), "--stop-with-parent",
    ]  # fmt: skip


def _wait_until_ready(
    process: subprocess.Popen[bytes],
    model: Artifact,
    folder: Path,
    log: BinaryIO,
    stop_if_asked: Callable[[], None],
) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        stop_if_asked()
        if process.poll() is not None:
            raise _not_accepted(model, f"it ended with exit code {process.returncode}", log)
        if (folder / ENDPOINT_FILE).exists():
            url = str(json.loads((folder / ENDPOINT_FILE).read_text())["url"])
            return _check_ready(url, model, log)
        time.sleep(_POLL_SECONDS)
    raise _not_accepted(model, f"it did not answer within {START_SECONDS:g} s", log)


def _check_ready(url: str, model: Artifact, log: BinaryIO) -> str:
    with Caller(url) as caller:
        reply = caller.send("GET", "/ready")
    if reply.status != 200:
        raise _not_accepted(model, f"GET /ready answered {reply.status} {reply.content}", log)
    return url


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _not_accepted(model: Artifact, reason: str, log: BinaryIO) -> StageError:
    log.seek(0, 2)
    log.seek(max(0, log.tell() - _LOG_TAIL_BYTES))
    tail = log.read().decode(errors="replace").strip()
    return StageError(
        f"The candidate failed the check 'starts and stays ready': {reason}",
        where=model.reference,
        next_step="Read the end of the server's log in the detail; what is live was not touched.",
        detail=tail,
    )
