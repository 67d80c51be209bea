"""The page of the main job: one self-contained file that a team can pass around."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

import workbench
from workbench.core.page import Child, element, foreign_text, heading, table, write_page
from workbench.demo.story import Story
from workbench.tasks.evaluation_page import interval_plot

_NUM_EXAMPLES = 10


def write_demo_page(path: Path, story: Story) -> None:
    """Write the page: what was read and dropped, who is how good, what is live, what is watched."""
    best = max(story.systems, key=lambda system: system["value"])
    test = f"{story.evaluation['rows']:,} test rows; line: 95 % interval"
    body: list[Child] = [
        heading("From raw text to a served model", f"{story.seconds:.0f} s in all", level=1),
        element("p", _headline(story), class_="verdict"),
        heading(story.metric_words.capitalize(), test),
        interval_plot(story.systems, best["name"], story.metric_words),
        table(
            ["System", story.metric_words, "95 % interval", "MB", "ms a text"], story.system_rows()
        ),
        heading("Steps", "rows in → out; seconds of each step"),
        table(
            ["Step", "Rows", "", "Seconds"], story.step_rows(), numeric=lambda column: column == 3
        ),
        *_dropped(story),
        *_examples(story),
        heading("Live", "where it answers, and what the monitor says"),
        *(element("p", f"{title}: {text}") for title, text in story.closing_lines()),
        element("footer", f"NLP Workbench {workbench.__version__}"),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_page(path, "From raw text to a served model", body)


def _headline(story: Story) -> str:
    values = {system["name"]: system for system in story.systems}
    student = values["student"]
    return (
        f"A student of {student['megabytes']:.1f} MB reaches {story.metric_words} "
        f"{student['value']:.3f}, its teacher {values['teacher']['value']:.3f}, "
        f"the baseline {values['baseline']['value']:.3f}."
    )


def _dropped(story: Story) -> list[Element]:
    rows: Sequence[Sequence[Child]] = [
        [name.replace("_", " "), f"{count:,}"] for name, count in story.dropped.items() if count
    ]
    if not rows:
        return []
    return [
        heading("Dropped", "rows by the rule that dropped them; each stands in the ledger"),
        table(["Rule", "Rows"], rows),
    ]


def _examples(story: Story) -> list[Element]:
    rows: list[list[Child]] = [
        [
            example["rule"].replace("_", " "),
            foreign_text(example["before"]),
            foreign_text(example.get("after") or "dropped"),
        ]
        for example in story.examples
        if example["before"].strip()
    ][:_NUM_EXAMPLES]
    if not rows:
        return []
    return [
        heading("Rows, before → after", "a few that cleaning changed"),
        table(["Rule", "Before", "After"], rows, numeric=lambda _column: False),
    ]
