"""Live workspaces for tests, and the example stages of a third party on the import path."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from databases import Databases, PostgresqlDatabases, SqliteDatabases, temporary_folder
from gangs import make_spec_of
from hypothesis import HealthCheck, settings
from live_workspace import PLUGIN, LiveWorkspace, StartWorkspace
from postgresql_server import Server, postgresql_server
from s3_server import s3_server

from workbench.pool.providers.provider import PoolSpec
from workbench.pool.providers.registry import write_pool
from workbench.train.train import TrainSpec

# Daemon, workers and coordinators find the example stages as they would find any installed ones.
sys.path.insert(0, str(PLUGIN))
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(PLUGIN), os.environ.get("PYTHONPATH", "")])
)
# A daemon that outlives a killed test session shall not stay for long.
os.environ["WORKBENCH_IDLE_MINUTES"] = "5"

# Nobody's own workspace: a test that names none of its own is told by ``no_stray_workspace``.
_STRAY = Path(tempfile.mkdtemp(prefix="workbench-tests-")) / "stray"
os.environ["WORKBENCH_WORKSPACE"] = str(_STRAY)

# On a busy machine an example may take any time: no law is about the clock.
settings.register_profile(
    "workbench", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("workbench")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have slow tests: at the end, no process works alone for long."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def no_stray_workspace() -> Iterator[None]:
    """See that no test has started a daemon for a workspace that it did not name."""
    yield
    was_used = _STRAY.exists()
    if was_used:
        LiveWorkspace(_STRAY).down()
    shutil.rmtree(_STRAY.parent, ignore_errors=True)
    assert not was_used, "a test has used the default workspace"


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveWorkspace]:
    """Offer one running workspace with two slots, shared by all tests that only add to it."""
    with pytest.MonkeyPatch.context() as environment:
        shared = _start(tmp_path_factory.mktemp("shared") / "workspace", environment, slots=2)
    yield shared
    shared.down()


@pytest.fixture
def start_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StartWorkspace]:
    """Offer a function that starts a workspace of this test's own: ``(slots=2, **environment)``."""
    started: list[LiveWorkspace] = []

    def start(
        slots: int = 2, pool: Callable[[Path], PoolSpec] | None = None, **variables: str
    ) -> LiveWorkspace:
        root = tmp_path / f"workspace-{len(started)}"
        started.append(LiveWorkspace(root))  # first: also a start that fails is cleaned away
        if pool is not None:
            write_pool(root, pool(root))
        return _start(root, monkeypatch, slots, **variables)

    yield start
    for own in started:
        own.down()


@pytest.fixture
def fresh_workspace(start_workspace: StartWorkspace) -> LiveWorkspace:
    """Offer a running workspace with two slots that no other test sees."""
    return start_workspace(slots=2)


@pytest.fixture
def spec_of(tmp_path: Path) -> Callable[..., TrainSpec]:
    """Offer what makes the Spec of a training: ``(checkpoint_seconds, epochs)``."""
    return make_spec_of(tmp_path)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Offer the variables with which clients find a server that speaks S3."""
    with s3_server(tmp_path_factory.mktemp("s3")) as variables:
        yield variables


@pytest.fixture
def bucket(s3: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Offer the URL of a bucket of this test's own, with credentials in the environment."""
    import s3fs

    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{secrets.token_hex(4)}"
    s3fs.S3FileSystem().mkdir(name)
    return f"s3://{name}"


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """Offer a PostgreSQL server that stays up, shared by all tests that only add to it."""
    with postgresql_server() as server:
        yield server


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest) -> Iterator[Databases]:
    """Offer empty databases of one kind, then of the other."""
    with temporary_folder() as folder:
        if request.param == "sqlite":
            yield SqliteDatabases(folder)
        else:
            yield PostgresqlDatabases(request.getfixturevalue("postgresql"), folder)


def _start(
    root: Path, environment: pytest.MonkeyPatch, slots: int, **variables: str
) -> LiveWorkspace:
    environment.setenv("WORKBENCH_WORKSPACE", str(root))
    environment.setenv("WORKBENCH_SLOTS", str(slots))
    environment.setenv("OMP_NUM_THREADS", "1")
    # Its processes take seconds to load; tests of it, the soak, tours and the demo have it.
    environment.setenv("WORKBENCH_DASK", "none")
    for name, value in variables.items():
        environment.setenv(name, value)
    environment.delenv("WORKBENCH_PARENT_RUN", raising=False)
    return LiveWorkspace(root).up()
