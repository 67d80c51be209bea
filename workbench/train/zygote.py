"""A process that has loaded torch and transformers once, and forks ranks that start at once.

Loading both takes 4 to 5 s of processor time; a fork takes milliseconds. It pays with every rank
after the first: the second rank, a retry, the next trial of a search.

Forking is safe only while a process has one thread: the zygote looks before each fork, and where
it finds more (a site hook may start one) it starts the rank as a fresh process instead.

It obeys messages on the socket it is born with: ``{"start": order, "log": file}`` with the write
end of the rank's event pipe, and ``{"kill": true}``. It tells ``{"exited": rank, "status": n}``,
and dies with its parent: the kernel closes the socket.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
from importlib import import_module
from typing import Any

from workbench.train.rank import RankOrder, run_rank

_WARM = (
    "torch", "torch.distributed", "safetensors.torch", "tokenizers", "transformers",
    "transformers.models.auto.modeling_auto", "transformers.models.bert.modeling_bert",
    "workbench.train.loop", "workbench.train.score",
)  # fmt: skip
_MOST_BYTES = 65_536  # of one message
_IDLE_SECONDS = 600  # without a rank; a warm zygote keeps about 300 MB


def serve(control: socket.socket) -> None:
    """Obey until the parent is gone, or for ten minutes without work."""
    for module in _WARM:
        import_module(module)
    gc.freeze()  # a collection in a rank would else write to every shared page
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    children: dict[int, int] = {}
    while True:
        patience = None if children else _IDLE_SECONDS
        ready, _, _ = select.select([control.fileno(), woken], [], [], patience)
        if not ready and not children:
            return
        if woken in ready:
            os.read(woken, _MOST_BYTES)
            _reap(children, control)
        if control.fileno() in ready and not _obey(control, children, (woken, wake)):
            return


def _obey(control: socket.socket, children: dict[int, int], pipe: tuple[int, int]) -> bool:
    content, descriptors, _, _ = socket.recv_fds(control, _MOST_BYTES, 1)
    if not content:
        return False
    message: dict[str, Any] = json.loads(content)
    if "kill" in message:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        return True
    order: RankOrder = message["start"]
    order["parent"] = os.getpid()
    pid = _start(order, descriptors[0], message["log"], [control.fileno(), *pipe])
    children[pid] = order["rank"]
    os.close(descriptors[0])
    return True


def _start(order: RankOrder, events: int, log: str, private: list[int]) -> int:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        if _num_threads() == 1:
            return _fork(order, events, output, private)
        command = [sys.executable, "-m", "workbench.train.rank", json.dumps(order), str(events)]
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=[events]
        ).pid
    finally:
        os.close(output)


def _num_threads() -> int:
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208 (no Path objects for a count)


def _fork(order: RankOrder, events: int, output: int, private: list[int]) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor in private:
            os.close(descriptor)
        os.dup2(output, 1)
        os.dup2(output, 2)
        status = run_rank(order, events, forked=True)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # never back into the zygote's loop, never through its exit handlers


def _reap(children: dict[int, int], control: socket.socket) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        rank = children.pop(pid)
        exited = {"exited": rank, "status": os.waitstatus_to_exitcode(status)}
        control.send(json.dumps(exited).encode())


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as door:
        serve(door)
