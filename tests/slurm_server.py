"""A Slurm of this test session's own: one node, jobs that are processes of this machine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch")


def why_not() -> str:
    """Return why there can be no Slurm here; empty if there can."""
    if os.geteuid() != 0:
        return "starting it needs root"
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
    missing = [name for name in _PROGRAMS if shutil.which(name, path=path) is None]
    return f"{', '.join(missing)} not installed" if missing else ""


@contextmanager
def slurm_server(folder: Path) -> Iterator[dict[str, str]]:
    """Start Slurm; yield the variables with which its commands find it."""
    if reason := why_not():
        pytest.skip(f"LOUD SKIP: no Slurm here: {reason}")
    folder.chmod(0o755)
    for parent in folder.parents:  # munge wants a way to its socket that all can go
        if parent.is_relative_to("/tmp/pytest-of-root"):
            parent.chmod(0o755)
    node = socket.gethostname().partition(".")[0]
    ports = [_free_port() for _ in range(2)]
    (folder / "state").mkdir()
    (folder / "slurm.conf").write_text(
        f"ClusterName=wb\nSlurmctldHost={node}(127.0.0.1)\nSlurmUser=root\n"
        f"SlurmctldPort={ports[0]}\nSlurmdPort={ports[1]}\n"
        f"AuthType=auth/munge\nAuthInfo=socket={folder}/munge/socket\nCryptoType=crypto/munge\n"
        "ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nReturnToService=2\n"
        "MpiDefault=none\nSwitchType=switch/none\nJobAcctGatherType=jobacct_gather/none\n"
        "SelectType=select/cons_tres\nSelectTypeParameters=CR_CPU\nKillWait=5\n"
        f"StateSaveLocation={folder}/state\nSlurmdSpoolDir={folder}/spool\n"
        f"SlurmctldPidFile={folder}/ctld.pid\nSlurmdPidFile={folder}/slurmd.pid\n"
        f"SlurmctldLogFile={folder}/ctld.log\nSlurmdLogFile={folder}/slurmd.log\n"
        "AccountingStorageType=accounting_storage/none\n"
        f"NodeName={node} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} RealMemory=2000 State=UNKNOWN\n"
        f"PartitionName=test Nodes={node} Default=YES MaxTime=60 State=UP\n"
    )
    variables = {"SLURM_CONF": str(folder / "slurm.conf")}
    environment = {**os.environ, **variables}
    servers = [_start_munge(folder)]
    try:
        for program, arguments in (("slurmctld", ["-D", "-i"]), ("slurmd", ["-D"])):
            with (folder / f"{program}.out").open("wb") as out:
                servers.append(
                    subprocess.Popen(
                        [f"/usr/sbin/{program}", *arguments], env=environment, stdout=out,
                        stderr=out, stdin=subprocess.DEVNULL,
                    )
                )  # fmt: skip
        _wait_for_node(environment, folder)
        yield variables
    finally:
        subprocess.run(["scancel", "-u", "root"], env=environment, capture_output=True)
        for server in reversed(servers):
            server.terminate()
            server.wait(20)


def _start_munge(folder: Path) -> subprocess.Popen[bytes]:
    private = folder / "munge"
    private.mkdir(mode=0o755)
    key = private / "key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    server = subprocess.Popen(
        ["/usr/sbin/munged", "--foreground", "--force", f"--socket={private}/socket",
         f"--key-file={key}", f"--pid-file={private}/pid", f"--log-file={private}/log",
         f"--seed-file={private}/seed"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 20
    while not (private / "socket").exists():
        assert server.poll() is None and time.monotonic() < deadline, "munged did not come up"
        time.sleep(0.05)
    return server


def _wait_for_node(environment: dict[str, str], folder: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        told = subprocess.run(
            ["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True
        )
        if told.stdout.strip() == "idle":
            return
        logs = [(folder / name).read_text() for name in ("slurmctld.out", "slurmd.out")]
        assert time.monotonic() < deadline, f"{told.stdout}{told.stderr}\n{logs}"
        time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
