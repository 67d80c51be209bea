"""``import workbench`` costs next to nothing: heavy libraries load when work starts."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = [
    "torch", "dask", "distributed", "transformers", "sqlalchemy", "numpy", "ipywidgets", "pandas",
    "pyarrow", "alembic", "uvicorn", "starlette", "sklearn", "scipy", "onnxruntime", "IPython",
]  # fmt: skip

_PROBE = """
import json, sys, time
before = time.process_time()
{statement}
spent = time.process_time() - before
print(json.dumps({{"milliseconds": spent * 1000, "modules": sorted(sys.modules)}}))
"""


@pytest.mark.parametrize(
    "statement",
    [
        "import workbench",
        "from workbench import Workspace",
        "import workbench; workbench.Workspace('/nowhere')",
        "import workbench; dir(workbench)",
        "import workbench.cli",
    ],
)
def test_opening_the_workbench_loads_nothing_heavy(statement: str) -> None:
    found = subprocess.run(
        [sys.executable, "-c", _PROBE.format(statement=statement)],
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    probe = json.loads(found.stdout)
    print(f"{statement}: {probe['milliseconds']:.0f} ms of CPU")
    assert [name for name in HEAVY if name in probe["modules"]] == []


def test_importing_the_package_alone_loads_not_even_pydantic() -> None:
    found = subprocess.run(
        [sys.executable, "-c", _PROBE.format(statement="import workbench")],
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    assert "pydantic" not in json.loads(found.stdout)["modules"]
