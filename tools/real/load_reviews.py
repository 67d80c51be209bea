"""Load the review sentences (three text files) into a SQLite table, as a team would have them.

    python tools/real/load_reviews.py ../shared/data/uci_sentences reviews.sqlite

Table ``reviews(id, site, sentence, positive)``; ``positive`` is 0 or 1, there is no neutral class.
"""

from __future__ import annotations

import argparse
import sqlite3
from pathlib import Path

SITES = ("amazon_cells", "imdb", "yelp")


def read_site(path: Path) -> list[tuple[str, int]]:
    """Return (sentence, 0 or 1) of one file: a header line, then sentence TAB label.

    Sentences may hold U+0085, which ``splitlines`` would take for the end of a line.
    """
    lines = path.read_text(encoding="utf-8").split("\n")[1:]
    pairs = (line.rpartition("\t") for line in lines if line)
    return [(sentence, int(label)) for sentence, _, label in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("database", type=Path)
    options = parser.parse_args()
    options.database.parent.mkdir(parents=True, exist_ok=True)
    options.database.unlink(missing_ok=True)
    connection = sqlite3.connect(options.database)
    with connection:
        connection.execute(
            "CREATE TABLE reviews (id INTEGER PRIMARY KEY, site TEXT, sentence TEXT, positive INT)"
        )
        for site in SITES:
            rows = read_site(options.folder / f"{site}_labelled.txt")
            connection.executemany(
                "INSERT INTO reviews (site, sentence, positive) VALUES (?, ?, ?)",
                [(site, sentence, label) for sentence, label in rows],
            )
    print(
        connection.execute(
            "SELECT site, count(*), sum(positive) FROM reviews GROUP BY site"
        ).fetchall()
    )
    connection.close()


if __name__ == "__main__":
    main()
