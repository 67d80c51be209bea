"""Who is to blame when a gang ends."""

from __future__ import annotations

import selectors
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from workbench.core.errors import Cause, StageError, WorkbenchError
from workbench.core.laws import FolderRun
from workbench.train import gang as gang_module
from workbench.train.gang import Gang

LOST = {"rank": 0, "told": {"kind": "lost-peer"}}
EXITED = {"rank": 0, "exited": 1, "log": "", "oom": False}
KILLED = {"rank": 1, "exited": -9, "log": "", "oom": False}
FAILED = {
    "rank": 1, "told": {"kind": "error", "error": StageError("it is odd").to_json()},
}  # fmt: skip


class Host:
    """Ranks on a host, of which messages come after so many seconds."""

    def __init__(self, *later: tuple[float, dict[str, Any]]) -> None:
        self._begun = time.monotonic()
        self._later = list(later)
        self._quiet, self._other = socket.socketpair()
        self._other.send(b"!")  # always worth a look

    def fileno(self) -> int:
        return self._quiet.fileno()

    def messages(self) -> list[dict[str, Any]]:
        now = time.monotonic() - self._begun
        found = [message for after, message in self._later if after <= now]
        self._later = [each for each in self._later if each[0] > now]
        return found

    def kill(self) -> None:
        self._later = []

    def close(self) -> None:
        self._quiet.close()
        self._other.close()


def ended(folder: Path, *later: tuple[float, dict[str, Any]]) -> Any:
    gang = Gang("fit", folder / "job.json", 2, 1, FolderRun(folder))
    host = Host(*later)
    gang._hosts.append(host)
    gang._selector.register(host, selectors.EVENT_READ, host)
    try:
        with pytest.raises(WorkbenchError) as told:
            list(gang.events())
    finally:
        host.close()
    return told.value


def test_a_death_that_is_heard_late_is_to_blame_and_not_who_lost_its_peer(tmp_path: Path) -> None:
    error = ended(tmp_path, (0.0, LOST), (0.0, EXITED), (1.2, KILLED))
    assert (error.what, error.cause) == ("Rank 1 was killed (SIGKILL)", Cause.RANK_KILLED)


def test_a_lost_peer_of_which_nothing_more_is_heard_is_healed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gang_module, "_LOST_PEER_SECONDS", 0.3)
    error = ended(tmp_path, (0.0, LOST), (0.0, EXITED))
    assert (error.what, error.cause) == ("Rank 0 has lost another one", Cause.RANK_KILLED)


def test_an_error_that_a_rank_tells_is_not_waited_for_longer_than_need_be(tmp_path: Path) -> None:
    begun = time.monotonic()
    error = ended(tmp_path, (0.0, LOST), (0.0, FAILED), (0.0, EXITED))
    assert error.what == "it is odd"
    assert time.monotonic() - begun < 2


def test_a_rank_that_ends_without_a_word_is_named_though_another_one_lost_it(
    tmp_path: Path,
) -> None:
    error = ended(tmp_path, (0.0, EXITED), (0.0, {**LOST, "rank": 1}))
    assert error.what == "Rank 0 ended without a word"


@pytest.mark.parametrize("first", [(0.0, FAILED), (0.0, {**EXITED, "exited": -6})])
def test_who_was_killed_is_to_blame_whatever_the_others_met_with_after_it(
    tmp_path: Path, first: tuple[float, dict[str, Any]]
) -> None:
    error = ended(tmp_path, first, (0.1, {**KILLED, "rank": 1}), (0.1, EXITED))
    assert (error.what, error.cause) == ("Rank 1 was killed (SIGKILL)", Cause.RANK_KILLED)


def test_a_rank_that_crashes_on_its_way_out_is_not_to_blame(tmp_path: Path) -> None:
    error = ended(tmp_path, (0.0, LOST), (0.0, {**EXITED, "exited": -11}), (0.8, KILLED))
    assert error.what == "Rank 1 was killed (SIGKILL)"
    alone = ended(tmp_path, (0.0, {**EXITED, "exited": -11}))
    assert alone.what == "Rank 0 crashed in native code (SIGSEGV)"
