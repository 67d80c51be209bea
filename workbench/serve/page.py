"""The page at ``/``: type a text, see the answer. One file, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import html

_STYLE = """
:root { color-scheme: light dark; --ink: #1f1f1f; --soft: #616161; --line: #dedede;
  --edge: #858585; --accent: #1976d2; --back: #fff; --fail: #bf2f1f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e2e2e2; --soft: #a5a5a5; --line: #393939;
  --edge: #838383; --accent: #2196f3; --back: #111; --fail: #ff8b78; } }
body { font: 13px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back);
  max-width: 640px; margin: 24px auto; padding: 0 16px; }
h1 { font-size: 20px; font-weight: 600; margin: 0; }
p, caption { color: var(--soft); margin: 0 0 16px; text-align: left; }
label { display: block; font-weight: 500; margin-bottom: 4px; }
textarea { font: inherit; color: inherit; background: inherit; width: 100%; min-height: 96px;
  box-sizing: border-box; padding: 8px; border: 1px solid var(--edge); border-radius: 3px; }
button { font: inherit; font-weight: 500; height: 28px; padding: 0 12px; margin: 8px 0 16px;
  color: #fff; background: #1976d2; border: 0; border-radius: 3px; }
button:disabled { background: #767676; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; font-weight: 400; padding: 4px 8px 4px 0;
  border-top: 1px solid var(--line); overflow-wrap: anywhere; }
tr.best > * { font-weight: 600; }
td.number { text-align: right; width: 64px; }
meter { width: 100%; }
.error { color: var(--fail); white-space: pre-wrap; overflow-wrap: anywhere; }
"""

# Answers reach the page through textContent alone, so no label or message is ever run as HTML.
# The path is relative: the page also works behind a proxy's prefix.
_SCRIPT = """
const form = document.querySelector("form");
const button = form.querySelector("button");
const answer = document.getElementById("answer");
function element(tag, text, className) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}
function row(label, score, isBest) {
  const made = element("tr", "", isBest ? "best" : "");
  const bar = element("td", "");
  const meter = element("meter", "");
  meter.value = score;
  meter.setAttribute("aria-label", label);
  bar.append(meter);
  made.append(element("th", label), bar, element("td", score.toFixed(3), "number"));
  return made;
}
function show(result) {
  const prediction = result.predictions[0];
  const table = element("table", "");
  table.append(element("caption", "Probability of each label. Request " + result.request_id));
  for (const [label, score] of Object.entries(prediction.scores).sort((a, b) => b[1] - a[1]))
    table.append(row(label, score, label === prediction.label));
  answer.replaceChildren(table);
}
function complain(text) { answer.replaceChildren(element("div", text, "error")); }
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  button.disabled = true;
  try {
    const text = document.getElementById("text").value;
    const response = await fetch("v1/predict", { method: "POST",
      headers: { "Content-Type": "application/json" }, body: JSON.stringify({ text }) });
    const result = await response.json();
    if (response.ok) show(result);
    else complain(result.what + "\\n" + result.next_step);
  } catch (error) {
    complain("The server did not answer: " + error.message);
  } finally {
    button.disabled = false;
  }
});
"""


def _source(code: str) -> str:
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    return f"'sha256-{digest}'"


# The browser runs this style and this script and nothing else, whatever gets into the page.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        f"style-src {_source(_STYLE)}",
        f"script-src {_source(_SCRIPT)}",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'self'",
    ]
)


def render_page(name: str, reference: str) -> str:
    """Return the page of one deployment; both texts are escaped."""
    title = html.escape(name)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{html.escape(reference)}</p>
<form>
<label for="text">Text</label>
<textarea id="text" required dir="auto"></textarea>
<button type="submit">Predict</button>
</form>
<div id="answer" aria-live="polite"></div>
</main>
<script>{_SCRIPT}</script>
</body>
</html>
"""
