"""Prompts from the command line and from pytest: in, out, apart, and checked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from live_workspace import LiveWorkspace
from tiny_training import sentences, write_encoder

from workbench.cli.main import main
from workbench.data.integrate import IntegrateSpec
from workbench.prompts.write import PromptSpec

pytestmark = pytest.mark.slow

GOOD = "fine great lovely superb kind wonderful".split()  # noqa: SIM905
BAD = "awful poor nasty broken rude terrible".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def golden(workspace: LiveWorkspace, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Offer labelled rows, ``golden@latest``, and a scorer for them."""
    folder = tmp_path_factory.mktemp("golden")
    rows = [{"text": text, "label": label} for text, label in sentences(120)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = {"kind": "jsonl", "name": "rows", "path": str(folder / "rows.jsonl"),
              "label_column": "label"}  # fmt: skip
    workspace.do(IntegrateSpec.parse({"name": "golden", "sources": [source]}))
    encoder = write_encoder(folder / "encoder")
    return json.dumps({"kind": "embedding", "model": str(encoder)})


def write_prompt(workspace: LiveWorkspace, name: str, words: dict[str, list[str]]) -> str:
    spec = PromptSpec.parse({"name": name, "verbaliser": {"kind": "choice", "words": words}})
    return str(workspace.do(spec).reference)


def test_prompts_come_in_are_shown_and_go_out(
    workspace: LiveWorkspace, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("WORKBENCH_WORKSPACE", str(workspace.root))
    told = {"name": "tone", "type": "text", "prompt": "Judge {{text}}", "config": {}}
    (tmp_path / "tone.json").write_text(json.dumps(told))
    asked = '{"kind": "choice", "words": {"yes": ["yes"], "no": ["no"]}}'
    assert main(["prompts", "import", str(tmp_path / "tone.json"), "--answer", asked]) == 0
    assert capsys.readouterr().out.startswith("tone@")
    assert main(["prompts"]) == 0
    assert "langfuse: tone.json, tone" in capsys.readouterr().out
    assert main(["prompts", "show", "tone@latest"]) == 0
    assert capsys.readouterr().out.startswith("user:\n  Judge {{text}}\nanswer:\n")
    output = tmp_path / "out.json"
    assert (
        main(["prompts", "export", "tone@latest", "--format", "mlflow", "--output", str(output)])
        == 0
    )
    assert json.loads(output.read_text())["template"][0]["content"] == "Judge {{text}}"
    assert main(["prompts", "import", str(output), "--name", "again"]) == 0
    capsys.readouterr()
    assert main(["prompts", "diff", "tone@latest", "again@latest"]) == 0
    assert capsys.readouterr().out == "They ask the same.\n"
    (tmp_path / "odd.json").write_text(json.dumps({"name": "odd", "prompt": "{% macro x() %}"}))
    assert main(["prompts", "import", str(tmp_path / "odd.json")]) == 1
    assert "odd: " in capsys.readouterr().err
    assert main(["prompts", "import", str(output), "--answer", "{"]) == 2


def test_a_version_that_is_worse_is_stopped_and_one_that_is_not_passes(
    workspace: LiveWorkspace, golden: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("WORKBENCH_WORKSPACE", str(workspace.root))
    right = write_prompt(workspace, "mood", {"positive": GOOD, "negative": BAD})
    alike = write_prompt(workspace, "mood", {"positive": GOOD[::-1], "negative": BAD})
    wrong = write_prompt(workspace, "mood", {"positive": BAD, "negative": GOOD})
    check = ["--against", right, "--dataset", "golden@latest", "--scorer", golden]
    assert main(["prompts", "check", alike, *check]) == 0
    assert capsys.readouterr().out.startswith("not worse: macro_recall")
    assert main(["prompts", "check", wrong, *check]) == 1
    assert capsys.readouterr().out.startswith("worse: macro_recall")
    (tmp_path / "test_mood.py").write_text(
        "import json, pytest\n"
        f"@pytest.mark.parametrize('new', [{alike!r}, {wrong!r}])\n"
        "def test_the_prompt_is_not_worse(check_prompt, new):\n"
        f"    verdict = check_prompt(new, {right!r}, 'golden@latest', json.loads({golden!r}))\n"
        "    assert verdict.passes, verdict.told()\n"
    )
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path), "--rootdir",
        str(tmp_path), "--workbench-workspace", str(workspace.root),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "worse: macro_recall" in done.stdout


def test_versions_with_other_answers_are_not_compared(
    workspace: LiveWorkspace, golden: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("WORKBENCH_WORKSPACE", str(workspace.root))
    one = write_prompt(workspace, "one", {"positive": GOOD, "negative": BAD})
    other = write_prompt(workspace, "other", {"good": GOOD, "negative": BAD})
    check = ["--against", other, "--dataset", "golden@latest", "--scorer", golden]
    assert main(["prompts", "check", one, *check]) == 1
    assert "have other answers" in capsys.readouterr().err
