"""The rules that rewrite texts, in the order in which they do."""

from __future__ import annotations

from workbench.data.rules.c4 import drop_c4_lines
from workbench.data.rules.html_residue import strip_html
from workbench.data.rules.personal_data import redact_personal_data
from workbench.data.rules.rule import Rule
from workbench.data.rules.unicode_repair import repair_unicode
from workbench.data.rules.whitespace import tidy_whitespace

# In this order, on each record by itself; users' own come next.
REPAIRS: dict[str, Rule] = {
    "unicode": repair_unicode,
    "html": strip_html,
    "whitespace": tidy_whitespace,
    "personal_data": redact_personal_data,
}

# Last come rules that take lines out. They spare sources that lose nothing.
LINE_RULES: dict[str, Rule] = {"c4_lines": drop_c4_lines}
