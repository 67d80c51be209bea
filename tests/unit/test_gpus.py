"""Which GPU a slot's processes may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from workbench.pool import gpus
from workbench.pool.gpus import gpus_of_host, take_gpu


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Offer the folder in which a driver would list its GPUs, with two of them."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpus, "_DRIVER", tmp_path / "gpus")
    for name in ("0000:3b:00.0", "0000:86:00.0"):
        (tmp_path / "gpus" / name).mkdir(parents=True)
    return tmp_path / "gpus"


def test_each_slot_has_a_gpu_of_its_own(driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for slot in ("gpu1/0", "gpu1/1", "gpu1/2"):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        take_gpu(slot)
        found.append(os.environ["CUDA_VISIBLE_DEVICES"])
    assert found == ["0", "1", "0"], "with more slots than GPUs some share one"


def test_what_a_queueing_system_lends_out_is_heeded(
    driver: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-5f,GPU-7a")
    assert gpus_of_host() == ["GPU-5f", "GPU-7a"]
    take_gpu("gpu1/1")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-7a"


def test_a_host_without_gpus_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpus, "_DRIVER", tmp_path / "none")
    take_gpu("local/0")
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus_of_host() == [], "somebody has hidden them"
