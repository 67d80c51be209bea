"""A real JupyterLab on a free port, and a headless Chromium in front of it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
TOKEN = "laboratory"
WAIT_MS = 90_000


class Laboratory:
    """A running JupyterLab; ``folder`` is its root, notebooks and data go there."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url

    def write_notebook(self, name: str, cells: list[str]) -> None:
        """Write a notebook of code cells."""
        import nbformat.v4 as v4

        notebook = v4.new_notebook(cells=[v4.new_code_cell(cell) for cell in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        (self.folder / name).write_text(json.dumps(notebook))

    def set_theme(self, name: str) -> None:
        """Choose ``JupyterLab Light`` or ``JupyterLab Dark`` for pages opened from now on."""
        folder = self.folder / ".settings" / "@jupyterlab" / "apputils-extension"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "themes.jupyterlab-settings").write_text(json.dumps({"theme": name}))


@contextmanager
def running_laboratory(folder: Path) -> Iterator[Laboratory]:
    """Start JupyterLab on ``folder``; end it and its kernels on leaving."""
    port = _free_port()
    config = folder / ".config"
    (config / "labconfig").mkdir(parents=True)
    disabled = {"@jupyterlab/apputils-extension:announcements": True}
    page_config = json.dumps({"disabledExtensions": disabled})
    (config / "labconfig" / "page_config.json").write_text(page_config)
    environment = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(config),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / ".settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / ".workspaces"),
        "JUPYTER_RUNTIME_DIR": str(folder / ".runtime"),
        "IPYTHONDIR": str(folder / ".ipython"),
        "WORKBENCH_WORKSPACE": str(folder / ".workbench"),
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
               "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}",
               f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder}"]  # fmt: skip
    log = folder / ".lab.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_up(url, process, log)
            yield Laboratory(folder, url)
        finally:
            _stop_daemon(folder / ".workbench")
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(60)


def _stop_daemon(workspace: Path) -> None:
    from workbench.core.client import Client, FixedEndpoint
    from workbench.core.daemon_process import running_daemon

    if daemon := running_daemon(workspace):
        client = Client(FixedEndpoint(daemon["url"], daemon["token"]), patience_seconds=0)
        client.post("/shutdown")
        client.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_up(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise RuntimeError(f"JupyterLab ended: {log.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(f"{url}/api?token={TOKEN}", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not come up: {log.read_text()[-2000:]}")


class NotebookPage:
    """One notebook in one browser tab."""

    def __init__(self, page: Any, laboratory: Laboratory, name: str) -> None:
        self.page = page
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.add_locator_handler(page.locator("dialog.jp-Dialog"), _answer)
        page.goto(f"{laboratory.url}/lab/tree/{name}?token={TOKEN}&reset")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=WAIT_MS)
        page.wait_for_selector(
            ".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=WAIT_MS, state="attached"
        )
        page.keyboard.press("Control+B")  # fold the file browser: the views get its width

    def cell(self, number: int) -> Any:
        """Return a code cell, counted from 0."""
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(number)

    def run_cell(self, number: int) -> None:
        """Run a cell without waiting for it to end."""
        prompt = self.cell(number).locator(".jp-InputPrompt")
        for _ in range(10):  # a page that is still loading drops keys
            editor = self.cell(number).locator(".cm-content")
            editor.click()
            editor.press("Control+Enter")
            for _ in range(20):
                if "[ ]" not in prompt.inner_text():
                    return
                self.page.wait_for_timeout(100)
        raise AssertionError(f"cell {number} was not run")

    def view(self, number: int) -> Any:
        """Return the view that a cell shows, once it is there."""
        found = self.cell(number).locator("section.wb").first
        found.wait_for(timeout=WAIT_MS)
        return found


def _answer(dialog: Any) -> None:
    """Answer what JupyterLab asks by itself on a busy machine, at any time.

    Whether to wait for its own page any longer, or with which kernel to begin.
    """
    print("JupyterLab asked:", " ".join(dialog.first.inner_text().split()))
    waits = dialog.get_by_role("button", name="Keep Waiting")
    (waits if waits.count() else dialog.locator("button.jp-mod-accept")).first.click()


def chromium() -> str | None:
    """Return the path of a Chromium, None if there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")
