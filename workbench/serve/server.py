"""The prediction server: one process for one deployed model, on this machine's loopback only.

    python -m workbench.serve.server --model-folder FOLDER --name sentiment \\
        --reference sentiment@9f3c1a2b44d0 --log-folder FOLDER [--port 8123] [--num-threads 1]

When it is ready it writes ``endpoint.json`` {url, pid, reference} into the log folder; SIGTERM
makes it answer what it has accepted and leave with exit code 0.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

from workbench.core.artifact import Artifact
from workbench.core.errors import ResourceError, WorkbenchError
from workbench.core.spec import parse_reference
from workbench.serve.limits import Limits

HOST = "127.0.0.1"
ENDPOINT_FILE = "endpoint.json"
# The exit code tells a supervisor who must act: restarting helps against none of these.
EXIT_CODES = {"spec": 2, "resource": 3, "data": 4, "stage": 5}
PARENT_POLL_SECONDS = 0.5


def main(arguments: list[str] | None = None) -> int:
    """Run a server until it is told to stop; return its exit code."""
    signal.signal(signal.SIGTERM, _leave)
    options = _parse(arguments)
    try:
        serve(options)
    except WorkbenchError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return EXIT_CODES.get(error.family, 1)
    except KeyboardInterrupt:
        return 0
    return 0


def serve(options: argparse.Namespace) -> None:
    """Check and load the model, then answer requests until SIGTERM.

    Raises:
        ResourceError: the port is taken, or the log folder cannot be written.
        DataError: the model's files are not those of its manifest, or the log is damaged.
        StageError: the model cannot be run.
    """
    limit_threads(options.num_threads)
    listener = bind(options.port)
    endpoint = _open_folder(options.log_folder) / ENDPOINT_FILE
    verify_model(options.reference, options.model_folder)

    import uvicorn

    from workbench.models.predictor import load_predictor
    from workbench.serve.app import make_app
    from workbench.serve.prediction_log import LOG_FILE, PredictionLog
    from workbench.serve.service import Service

    limits = Limits.from_options(options)
    predictor = load_predictor(options.model_folder, options.num_threads)
    log = PredictionLog(options.log_folder / LOG_FILE)
    service = Service(predictor, log, options.reference, limits)
    stop_with = os.getppid() if options.stop_with_parent else None
    url = listen(listener, options.port)

    @contextlib.asynccontextmanager
    async def lifespan(app: object) -> AsyncIterator[None]:
        async with _watch_parent(stop_with):
            write_endpoint(endpoint, url, options.reference)
            yield
            remove_endpoint(endpoint)
            await service.close()

    config = uvicorn.Config(
        make_app(service, options.name, lifespan),
        lifespan="on", http="h11", ws="none", log_level="warning", access_log=False,
        server_header=False, proxy_headers=False,
        # Whoever has sent a whole request is answered within the deadline; the rest is cut off.
        timeout_graceful_shutdown=round(limits.deadline_seconds) + 1,
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[listener])


def limit_threads(num_threads: int) -> None:
    """Hold the tokenizer and the arithmetic to this many threads; before they are imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ.setdefault(name, str(num_threads))


def bind(port: int) -> socket.socket:
    """Take a port of the loopback interface, 0 for any free one; nothing is accepted yet.

    Raises:
        ResourceError: the port is taken or not allowed.
    """
    # asyncio sends small answers at once only on sockets that name their protocol; without it the
    # kernel holds an answer's second packet back for 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # Without it a restarted server would have to wait a minute for its predecessor's port.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with _port_errors(port, listener.close):
        listener.bind((HOST, port))
    return listener


def listen(listener: socket.socket, port: int) -> str:
    """Begin to accept; return the server's address.

    Raises:
        ResourceError: somebody else began to listen on the port since ``bind``.
    """
    with _port_errors(port, listener.close):
        listener.listen(2048)
    return f"http://{HOST}:{listener.getsockname()[1]}"


def verify_model(reference: str, folder: Path) -> None:
    """Hash the model's files again and compare them with the artifact's manifest.

    Raises:
        DataError: a file or the manifest is missing or changed.
    """
    name, version = parse_reference(reference)
    Artifact("model", name, version, folder).verify()


def write_endpoint(path: Path, url: str, reference: str) -> None:
    """Tell where the server answers: the file appears whole or not at all."""
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps({"url": url, "pid": os.getpid(), "reference": reference}))
    partial.replace(path)


def remove_endpoint(path: Path) -> None:
    """Take the file back, unless a successor has already written its own."""
    if path.exists() and json.loads(path.read_text())["pid"] == os.getpid():
        path.unlink()


@contextlib.asynccontextmanager
async def _watch_parent(parent: int | None) -> AsyncIterator[None]:
    """Stop the server when its parent process is gone (None: whoever that is)."""

    async def watch() -> None:
        while os.getppid() == parent:
            await asyncio.sleep(PARENT_POLL_SECONDS)
        signal.raise_signal(signal.SIGTERM)

    task = asyncio.create_task(watch()) if parent is not None else None
    try:
        yield
    finally:
        if task is not None:
            task.cancel()


@contextlib.contextmanager
def _port_errors(port: int, close: Callable[[], None]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        close()
        reason = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used: {error}"
        raise ResourceError(
            f"Port {port} {reason}",
            where=f"{HOST}:{port}",
            next_step="Choose another port, or 0 for any free one; or stop what listens there.",
        ) from error


def _open_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ENDPOINT_FILE).unlink(missing_ok=True)  # left by a server that was killed
    except OSError as error:
        raise ResourceError(
            f"The log folder cannot be written: {error.strerror}",
            where=str(folder),
            next_step="Give the server a folder of its own on a local disk.",
        ) from error
    return folder


def _leave(signum: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m workbench.serve.server",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model-folder", type=Path, required=True, help="folder of the artifact")
    parser.add_argument("--name", required=True, help="name of the deployment")
    parser.add_argument("--reference", required=True, help="the model as name@version")
    parser.add_argument("--port", type=int, default=0, choices=range(65536), metavar="PORT",
                        help="port, 0 for any free one")  # fmt: skip
    parser.add_argument("--log-folder", type=Path, required=True,
                        help="folder for endpoint.json and the prediction log")  # fmt: skip
    parser.add_argument("--num-threads", type=int, default=1, help="threads of the model")
    parser.add_argument("--stop-with-parent", action="store_true",
                        help="stop when the process that started this one ends")  # fmt: skip
    Limits.add_options(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
