"""Other hosts, real as far as their network goes: namespaces of this machine, with sshd in each.

They see the same files and the same processes, have addresses and names of their own, and reach
each other and this machine over a bridge, but not this machine's loopback.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_SUBNET = "10.91.{}.{}"


@dataclass(frozen=True)
class OtherHosts:
    """This machine's address for the others, and theirs."""

    here: str
    others: list[str]
    ssh_options: list[str]
    number: int

    def cut(self, host: str) -> None:
        """Take a host's cable out."""
        ip("link", "set", self._cable(host), "down")

    def mend(self, host: str) -> None:
        """Put it back."""
        ip("link", "set", self._cable(host), "up")

    def _cable(self, host: str) -> str:
        return f"wbv{self.number}-{self.others.index(host)}"


def why_not() -> str:
    """Return why there can be no other hosts here; empty if there can."""
    if os.geteuid() != 0:
        return "making network namespaces needs root"
    for program in ("ip", "sshd", "ssh", "unshare"):
        if shutil.which(program) is None and not Path(f"/usr/sbin/{program}").exists():
            return f"{program} is not installed"
    tried = subprocess.run(["unshare", "--net", "--uts", "true"], capture_output=True, text=True)
    return tried.stderr.strip() if tried.returncode else ""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def other_hosts(folder: Path, number_of_hosts: int) -> Iterator[OtherHosts]:
    """Have so many other hosts; ``folder`` gets their keys and settings."""
    if reason := why_not():
        pytest.skip(f"LOUD SKIP: no other hosts here: {reason}")
    number = os.getpid() % 200 + 20  # test processes side by side have nets of their own
    bridge = f"wbb{number}"
    hosts = OtherHosts(
        _SUBNET.format(number, 1),
        [_SUBNET.format(number, 2 + host) for host in range(number_of_hosts)],
        _make_keys(folder),
        number,
    )
    servers: list[subprocess.Popen[bytes]] = []
    spaces = [f"wbn{number}-{host}" for host in range(number_of_hosts)]
    try:
        ip("link", "add", bridge, "type", "bridge")
        ip("addr", "add", f"{hosts.here}/24", "dev", bridge)
        ip("link", "set", bridge, "up")
        for host, (space, address) in enumerate(zip(spaces, hosts.others, strict=True)):
            _plug_in(space, bridge, f"wbv{number}-{host}", address)
            servers.append(_start_sshd(space, folder))
        for address in hosts.others:
            _wait_for_sshd(address, hosts.ssh_options)
        yield hosts
    finally:
        for server in servers:
            server.kill()
            server.wait()
        for space in spaces:
            subprocess.run(["ip", "netns", "del", space], capture_output=True)
        subprocess.run(["ip", "link", "del", bridge], capture_output=True)


def _plug_in(space: str, bridge: str, cable: str, address: str) -> None:
    ip("netns", "add", space)
    ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
    ip("link", "set", cable, "master", bridge, "up")
    ip("-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
    ip("-n", space, "link", "set", "eth0", "up")
    ip("-n", space, "link", "set", "lo", "up")


def _make_keys(folder: Path) -> list[str]:
    """Make the keys of servers and user; return what ssh is told."""
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True
        )
    Path("/run/sshd").mkdir(exist_ok=True)
    (folder / "sshd_config").write_text(
        f"HostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\nPidFile none\n"
        "UsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\n"
    )
    return [
        "-i", str(folder / "user"), "-F", "none", "-o", "StrictHostKeyChecking=no",
        "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
    ]  # fmt: skip


def _start_sshd(space: str, folder: Path) -> subprocess.Popen[bytes]:
    server = f"hostname {space} && exec /usr/sbin/sshd -D -e -f {folder}/sshd_config"
    return subprocess.Popen(
        ["ip", "netns", "exec", space, "unshare", "--uts", "sh", "-c", server],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def _wait_for_sshd(address: str, options: list[str]) -> None:
    deadline = time.monotonic() + 20
    while True:
        tried = subprocess.run(["ssh", *options, address, "hostname"], capture_output=True)
        if tried.returncode == 0:
            return
        assert time.monotonic() < deadline, tried.stderr.decode()
        time.sleep(0.1)
