"""Build the sample data of the demo: three sources, with the dirt that real exports have.

Reads the rows beside this file and writes `workbench/demo/sample/`. The same rows
always give the same files, so a rebuild shows in a diff only where a row changed.

    python tools/sample/build.py
"""

from __future__ import annotations

import csv
import html
import random
import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from string import Template

HERE = Path(__file__).resolve().parent
TARGET = HERE.parents[1] / "workbench" / "demo" / "sample"

SEED = 20250303
START = datetime(2025, 3, 3, 6, 0, 0)
DAYS_OF_POSTS = 40
DAYS_BETWEEN_ARTICLES = 2
FIRST_COMMENT_NUMBER = 41200

SOURCES = ("news.csv", "pages", "posts.sqlite")
LABELS = ("negative", "neutral", "positive")
# The posts name their labels differently on purpose: bringing them together is part of the path.
MOODS = {"negative": "neg", "neutral": "neu", "positive": "pos", "": None}

LANGUAGES = {
    "en": "English",
    "zh": "Chinese",
    "es": "Spanish",
    "fr": "French",
    "de": "German",
    "none": "no language",
}

DIRT = {
    "exact": "exact duplicate, about half of them under another user name",
    "near": "near-duplicate: one or two words changed or mistyped, or `lol` or `!!!` added",
    "mojibake": "UTF-8 that was read as Windows-1252",
    "markup": "HTML residue such as `&amp;amp;`, `<br>` or `<b>..</b>`",
    "empty": "empty text, or nothing but white space",
    "personal": "e-mail address or telephone number in the text (invented, reserved ranges)",
    "foreign": "Spanish, French or German, with a label",
    "unlabelled": "no label",
    "one_word": "one word only, such as `First!!!`",
    "spam": "keyboard mash or advertising",
}
# How many rows of each kind that rests on another row or needs no text; the rest are the lists.
EXACT, NEAR, MOJIBAKE, MARKUP, PERSONAL, UNLABELLED = 26, 26, 20, 20, 20, 12

BLANKS = ("", "", "", "", " ", " ", "   ", "\n", "\n\n", "\t", "\u00a0", " \u3000")

ONE_WORD = (
    ("en", "First!!!"),
    ("en", "FIRST"),
    ("en", "first 😎"),
    ("en", "Following"),
    ("en", "bump"),
    ("en", "Second!"),
    ("zh", "沙发！！！"),
    ("zh", "前排"),
)

SPAM = (
    ("none", "asdfghjkl asdfg hjkl;;"),
    ("none", "qweqwe qwertz poiuu lkjlkj"),
    ("none", "aaaaaaaaaaaaaaaaaaaaaaaaaa"),
    ("none", "jfjfjfj kdkdk 8888 sjsjsj"),
    ("en", "EARN 500 A DAY FROM HOME!!! write to me now >>> http://easy-cash.example/start"),
    ("en", "Cheap watches cheap bags CHEAP SHOES www.bargain-barn.example free shipping"),
    ("en", "I was poor until I met Master Zorro, spells and lottery numbers, www.zorro.example"),
    ("zh", "兼职日结三百，在家动动手指就行，详情点 http://kuaiqian.example/a"),
)

# language, kind, article or topic, label, user, text
# fmt: off
FOREIGN = (
    ("es", "news", "quayside-library", "positive", "Marisol_k",
     "Qué maravilla de biblioteca, mis hijos no querían volver a casa."),
    ("es", "news", "rovers-stadium", "negative", "paco_del_puerto",
     "Pagué una fortuna por un asiento detrás de una columna. Una vergüenza."),
    ("es", "news", "bike-lanes", "neutral", "ruedas_lentas",
     "¿Alguien sabe si el carril ya llega hasta el hospital?"),
    ("es", "news", "hospital-waiting", "positive", "nieta_de_rosa",
     "Las enfermeras de urgencias fueron un encanto con mi abuela, mil gracias a todas."),
    ("es", "news", "energy-bills", "negative", "frio_en_casa",
     "Otra subida más, y nosotros con una sola estufa para toda la casa. No hay derecho."),
    ("es", "posts", "coffee", "positive", "lola_sin_prisa",
     "Primer café al sol del año y el camarero me invitó a una tostada. Día perfecto ☀️"),
    ("es", "posts", "train_delay", "negative", "anden_dos",
     "Cuarenta minutos parados en mitad del campo y nadie dice nada. Estoy harta."),
    ("es", "posts", "exams", "neutral", "apuntes_sueltos",
     "El examen de química es el martes a las nueve, aula 12."),
    ("es", "posts", "festival", "positive", "bailona_88",
     "Todavía me duelen los pies de tanto bailar. ¡El mejor fin de semana del verano!"),
    ("fr", "news", "tram-line-seven", "positive", "mouette_rieuse",
     "Enfin un tram qui arrive à l'heure, je ne prends plus la voiture et je revis."),
    ("fr", "news", "bakery-prices", "negative", "croute_doree",
     "Presque cinq pour un pain tout sec, on se moque vraiment des clients."),
    ("fr", "news", "flood-wall", "neutral", "marée_basse",
     "La réunion publique est bien à dix-neuf heures dans la salle de la bibliothèque ?"),
    ("fr", "news", "lamplighter-film", "positive", "dernier_rang",
     "Un film magnifique, j'ai pleuré deux fois et ri beaucoup plus souvent."),
    ("fr", "news", "council-budget", "negative", "tante_odile",
     "On ferme la maison des jeunes et on paie un nouveau logo. C'est une honte."),
    ("fr", "posts", "landlord", "negative", "quatrieme_gauche",
     "Trois semaines sans eau chaude et le propriétaire ne répond même plus. J'en peux plus."),
    ("fr", "posts", "pets", "positive", "moustaches_co",
     "Le chat du refuge a dormi sur mes genoux toute la soirée, je suis la plus heureuse 😻"),
    ("fr", "posts", "weather", "neutral", "girouette_9",
     "Vent d'ouest et douze degrés ce matin, pluie annoncée vers seize heures."),
    ("fr", "posts", "concert", "positive", "place_assise",
     "Quelle soirée ! Trois rappels et une voix à donner des frissons."),
    ("de", "news", "school-lunches", "negative", "pausenbrot",
     "Kalte Nudeln ohne Soße, und dafür zahlen wir jetzt auch noch mehr. Frechheit."),
    ("de", "news", "phone-update", "neutral", "knopfdruck",
     "Gibt es das Update auch schon für das kleine Modell vom letzten Jahr?"),
    ("de", "news", "rovers-stadium", "positive", "kurvenkind",
     "Großartige Stimmung unter dem neuen Dach, mein Sohn redet von nichts anderem mehr!"),
    ("de", "news", "hospital-waiting", "negative", "frau_nordwind",
     "Neun Stunden auf dem Flur gesessen und dann wieder nach Hause geschickt worden."),
    ("de", "posts", "football", "negative", "abseits_uwe",
     "Wieder in der Nachspielzeit verloren, ich schau mir das nicht mehr an 😡"),
    ("de", "posts", "cooking", "positive", "loeffelweise",
     "Omas Apfelkuchen ist mir zum ersten Mal richtig gelungen, die ganze Wohnung duftet!"),
    ("de", "posts", "meetings", "neutral", "protokoll_pia",
     "Die Besprechung wurde auf Donnerstag um zehn verlegt, Raum bleibt gleich."),
    ("de", "posts", "gym", "positive", "hantel_hanna",
     "Heute der erste Klimmzug meines Lebens. Ich bin so stolz auf mich!"),
)
# fmt: on

# What a near-duplicate may change: none of these moves the label.
SWAPS = (
    ("really", "truly"),
    ("morning", "evening"),
    ("brilliant", "great"),
    ("lovely", "nice"),
    ("terrible", "awful"),
    ("Thank you", "Thanks"),
    ("whole", "entire"),
    ("town", "city"),
    ("minutes", "mins"),
    ("people", "folks"),
    ("just", "simply"),
    ("Does anyone", "Does anybody"),
    ("kids", "children"),
    ("wonderful", "fantastic"),
    ("because", "cos"),
    ("again", "once more"),
    ("very", "really"),
    ("I'm", "Im"),
    ("don't", "dont"),
    ("can't", "cant"),
    ("didn't", "didnt"),
    ("It's", "Its"),
    ("you", "u"),
    ("真的", "确实"),
    ("今天", "今早"),
    ("非常", "特别"),
    ("大家", "各位"),
    ("终于", "总算"),
    ("请问", "想问下"),
    ("孩子", "小孩"),
    ("我们", "咱们"),
    ("没有", "没"),
    ("现在", "如今"),
    ("一个", "个"),
)
# `lol` turns up only where it cannot sour what was said.
ENDINGS = {
    ("en", "negative"): "!!!",
    ("en", "neutral"): " lol",
    ("en", "positive"): "!!!",
    ("zh", "negative"): "！！！",
    ("zh", "neutral"): "……",
    ("zh", "positive"): "！！！",
}

# Addresses and numbers nobody can own: example domains, and 555-0100 to 555-0199.
CONTACTS = {
    "en": (
        "Mail me at quiet.heron@example.org",
        "Call me on 202-555-0143.",
        "(my number is 555-0118)",
        "Contact: p.marlow@example.com",
        "If anyone saw it too, write to slipway.sam@example.org please.",
        "Text me, (303) 555-0176",
        "j_tansy84@example.com",
        "+1 415 555 0102, ask for Hettie",
    ),
    "zh": (
        "有同样情况的发邮件到 nanqiao.zhou@example.com",
        "联系电话 555-0163",
        "我的邮箱 xiaoman88@example.org",
        "可以打我电话 202-555-0129",
    ),
}

# headline, author, paragraphs
ARTICLES = {
    "tram-line-seven": (
        "Line seven rolls at last",
        "Maren Oakley",
        (
            "The first tram on the new line seven left Lower Quay at 5:42 on Monday with about "
            "sixty people on board and a brass band on the platform.",
            "The line joins the harbour with the hospital and takes over the route of buses 12 "
            "and 14. It was opened a year later than planned, after the old swing bridge had to "
            "be strengthened.",
            "Not all went smoothly in the first week: two trams stopped between stations on "
            "Tuesday, and ticket machines at Mill Lane were out of order. The operator says that "
            "trams run every eight minutes from now on.",
        ),
    ),
    "quayside-library": (
        "Quayside Library opens its doors",
        "Ellis Tarrant",
        (
            "After three years in containers behind the fish market, the town's books are home. "
            "The Quayside Library opened on Saturday in the former customs warehouse.",
            "It has four floors, a reading terrace over the water and a children's corner in the "
            "shape of a lighthouse. Three smaller branches were closed in return, which not "
            "everybody welcomes.",
            "Fines for late books are gone. The library is open on weekdays from nine to eight "
            "and on Saturdays from ten to four.",
        ),
    ),
    "bakery-prices": (
        "Why your loaf costs more",
        "Maren Oakley",
        (
            "From this week a plain loaf at the Rope Street bakery costs 4.80, fifty pence more "
            "than in the winter. It is the third rise within a year.",
            "Flour, butter and gas have all become dearer, says the owner, who shows the bills to "
            "anybody who asks. Her ovens are lit at two in the morning.",
            "The second bakery in town, on Mill Lane, has kept its prices so far and closes two "
            "hours earlier instead.",
        ),
    ),
    "school-lunches": (
        "New menu in five school kitchens",
        "Jonah Pell",
        (
            "Lentil bolognese, fish on Fridays and a piece of fruit for everybody: since September "
            "the five primary schools of the town cook after a new plan.",
            "The menu was drawn up with a survey among parents, and most of the vegetables come "
            "from farms around Dunmere. A meal costs families 2.10.",
            "Some parents find the portions small and the queues long. The school office wants to "
            "look at both before the winter break.",
        ),
    ),
    "rovers-stadium": (
        "Rovers come home to a new ground",
        "Bryn Castellan",
        (
            "With 11,348 people in the stands, the Rovers played their first match in the rebuilt "
            "stadium on Saturday and lost it by three goals to nil.",
            "The new west stand has a roof, step-free entrances and room for four thousand. The "
            "east stand follows next year.",
            "The town backs the work with a loan. Residents of Tannery Road complain about noise, "
            "litter and missing parking spaces on match days.",
        ),
    ),
    "flood-wall": (
        "Sea wall holds in first storm",
        "Ellis Tarrant",
        (
            "The gauge at the pier read 4.91 metres on Thursday night, and the new sea wall on "
            "the promenade stayed dry on its landward side for most of its length.",
            "At Rope Street water came up through the drains when a pump failed. Eleven cellars "
            "were flooded, and Lower Dunmere, which lies outside the wall, was cut off until dawn.",
            "The last section is to be built from October. A public meeting takes place in the "
            "library hall on the 18th.",
        ),
    ),
    "phone-update": (
        "What the big phone update changes",
        "Priya Lindqvist",
        (
            "Version nine of the system that runs on most phones in town is here, and with it "
            "come a new lock screen, larger text and a mode for children.",
            "We tried it for a week on three devices. The battery lasted longer on two of them, "
            "and on the third the keyboard became slow.",
            "The update needs about six gigabytes of free space and is handed out in stages. Make "
            "a backup first, the help desk at the library advises.",
        ),
    ),
    "lamplighter-film": (
        "Review: The Lamplighter's Daughter",
        "Odile Brandt",
        (
            "A film that takes its time: for two hours and forty minutes we follow a lamplighter "
            "and his child through one winter on a coast that looks very much like ours.",
            "It should, since many scenes were shot at Chandler's Yard. The storm is worth the "
            "ticket alone, even if the bank clerk with the limp is a villain out of a drawer.",
            "Five stars from us. At the Regal daily at 17:15 and 20:30.",
        ),
    ),
    "hospital-waiting": (
        "Seventeen weeks until the operation",
        "Jonah Pell",
        (
            "People who need a planned operation at the harbour hospital wait for 17 weeks in the "
            "middle, three weeks longer than a year ago, a report shows.",
            "The hospital points to a broken scanner and to posts that it could not fill. A new "
            "wing with 48 beds is to open in March.",
            "A system that offers cancelled appointments by telephone has started well: 212 "
            "patients were treated earlier because of it.",
        ),
    ),
    "bike-lanes": (
        "Seven kilometres for bicycles",
        "Bryn Castellan",
        (
            "The bike lane on Quay Road is finished. Seven of the planned twelve kilometres can "
            "now be used, from the pier to the market and on to the hospital.",
            "Cars may drive on Quay Road in one direction only while the trial lasts, and nineteen "
            "parking spaces as well as two loading bays are gone.",
            "On its first Monday the counter at Mill Lane registered 1,204 bicycles. Opinions can "
            "be handed in until the thirtieth.",
        ),
    ),
    "council-budget": (
        "Council passes its budget after eight hours",
        "Maren Oakley",
        (
            "By 24 votes to 14 the council has passed a budget of 212 million for the coming year. "
            "The debate ended shortly before midnight.",
            "Playgrounds, night buses and the lifeboat are to get more. The youth club in Rope "
            "Street closes, and bins will be emptied every three weeks.",
            "Local rates go up by seven percent. The full document can be read at the library.",
        ),
    ),
    "energy-bills": (
        "Heating becomes dearer again",
        "Priya Lindqvist",
        (
            "A unit of electricity costs 33.4 pence from the first of the month, up from 28.1. For "
            "a family in a terraced house that is about 240 a year.",
            "An advice van stands at the fish market on Tuesdays, and the town pays for loft "
            "insulation where incomes are low.",
            "Send a reading of your meter before the 31st. Seven more things that help are listed "
            "below this article.",
        ),
    ),
}

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$headline | The Harbour Courier</title>
<meta name="description" content="News from the harbour, the town and Dunmere">
<style>
body { font-family: Georgia, serif; margin: 0 auto; max-width: 46rem; }
nav li { display: inline; margin-right: 1rem; }
.comment { border-top: 1px solid #ccc; list-style: none; }
.cookie-notice { background: #eee; bottom: 0; padding: 1rem; position: fixed; }
</style>
<script>
window.courier = { page: "$article", comments: $count };
document.addEventListener("DOMContentLoaded", function () {
  var button = document.querySelector(".cookie-notice button");
  button.addEventListener("click", function () { button.parentNode.remove(); });
  if (window.courier.comments < 1) { document.title = "No comments yet"; }
});
</script>
</head>
<body>
<header>
<p class="masthead">The Harbour Courier</p>
<nav>
<ul>
<li><a href="/">Home</a></li>
<li><a href="/town">Town</a></li>
<li><a href="/sport">Sport</a></li>
<li><a href="/culture">Culture</a></li>
<li><a href="/notices">Tides and notices</a></li>
</ul>
</nav>
</header>
<main>
<article id="$article">
<h1>$headline</h1>
<p class="byline">By $author, <time datetime="$published">$date</time></p>
$body
</article>
<aside class="advertisement">
<p>Advertisement: Fresh crab every Thursday at the fish market, stall nine.</p>
</aside>
<section id="comments">
<h2>$count comments</h2>
<ol class="comment-list">
$comments
</ol>
<form action="/comment" method="post">
<label for="new-comment">Join the discussion</label>
<textarea id="new-comment" name="text"></textarea>
<button type="submit">Send</button>
</form>
</section>
<aside class="related">
<h2>More from the Courier</h2>
<ul>
$related
</ul>
</aside>
</main>
<footer>
<p>The Harbour Courier, 1 Rope Street. All names, places and events on this page are invented.</p>
<p><a href="/imprint">Imprint</a> <a href="/privacy">Privacy</a></p>
</footer>
<div class="cookie-notice" role="dialog" aria-label="Cookies">
<p>We use cookies to remember that you have seen this notice.</p>
<button type="button">Accept and close</button>
</div>
</body>
</html>
""")


@dataclass(frozen=True)
class Row:
    """One comment or post on its way into one of the three sources."""

    source: str
    group: str
    language: str
    user: str
    label: str
    text: str
    posted: datetime
    dirt: str = ""


def read_table(name: str) -> list[dict[str, str]]:
    """Read one of the tab-separated files; quotation marks in it are plain text."""
    with (HERE / name).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    for number, row in enumerate(rows, start=2):
        if row["label"] not in LABELS or not row["text"].strip():
            raise ValueError(f"{name}, line {number}: no text, or a label not in {LABELS}")
    return rows


class Clock:
    """Hands out made-up times: comments crowd behind their article, posts come evenly."""

    def __init__(self, generator: random.Random) -> None:
        self.generator = generator
        self.published: dict[str, datetime] = {}

    def opening(self, article: str) -> datetime:
        """Say when an article came out."""
        days = DAYS_BETWEEN_ARTICLES * len(self.published)
        return self.published.setdefault(article, START + timedelta(days=days))

    def time(self, source: str, group: str) -> datetime:
        """Draw a time for one row."""
        if source == "posts.sqlite":
            return START + timedelta(seconds=self.generator.randrange(DAYS_OF_POSTS * 86_400))
        return self.opening(group) + timedelta(seconds=int(self.generator.expovariate(1 / 50_000)))


def english_news(clock: Clock) -> list[Row]:
    """Read the English comments; of each article and label, each third goes onto a page."""
    seen: Counter[tuple[str, str]] = Counter()
    rows = []
    for line in read_table("news_en.tsv"):
        key = (line["article"], line["label"])
        seen[key] += 1
        source = "pages" if seen[key] % 3 == 0 else "news.csv"
        rows.append(to_row(clock, source, "en", line["article"], line))
    return rows


def english_posts(clock: Clock) -> list[Row]:
    """Read the English posts."""
    lines = read_table("posts_en.tsv")
    return [to_row(clock, "posts.sqlite", "en", line["topic"], line) for line in lines]


def chinese(clock: Clock) -> list[Row]:
    """Read the Chinese rows: comments go into the table, posts into the database."""
    sources = {"news": "news.csv", "post": "posts.sqlite"}
    lines = read_table("zh.tsv")
    return [to_row(clock, sources[line["kind"]], "zh", line["topic"], line) for line in lines]


def to_row(clock: Clock, source: str, language: str, group: str, line: dict[str, str]) -> Row:
    """Turn a line of a table into a row."""
    posted = clock.time(source, group)
    return Row(source, group, language, line["user"], line["label"], line["text"], posted)


def spoil(rows: list[Row], clock: Clock, generator: random.Random) -> list[Row]:
    """Add the dirt. No row gets two kinds of it, so that every count can be checked."""
    pool = rows.copy()
    generator.shuffle(pool)
    spoiled = (
        changed(pool, MOJIBAKE, "mojibake", mojibake)
        + changed(pool, MARKUP, "markup", markup)
        + changed(pool, PERSONAL, "personal", personal)
        + [replace(pool.pop(), label="", dirt="unlabelled") for _ in range(UNLABELLED)]
    )
    originals = [pool.pop() for _ in range(EXACT + NEAR)]
    copies = exact_copies(originals[:EXACT], rows, generator) + near_copies(originals[EXACT:])
    added = foreign(clock) + noise(rows, clock, generator)
    return pool + originals + spoiled + copies + added


def changed(pool: list[Row], count: int, dirt: str, change: Callable[[Row, int], str]) -> list[Row]:
    """Take rows that the change has something to work on out of the pool, and change them."""
    spoiled: list[Row] = []
    for row in pool.copy():
        text = change(row, len(spoiled))
        if text != row.text:
            pool.remove(row)
            spoiled.append(replace(row, text=text, dirt=dirt))
        if len(spoiled) == count:
            return spoiled
    raise ValueError(f"too few rows for {dirt}")


def mojibake(row: Row, turn: int) -> str:
    """Read UTF-8 as Windows-1252, as an old spreadsheet does."""
    if row.language == "zh" and turn % 5:
        # One in five is enough: a Chinese text is unreadable from its first character on.
        return row.text
    curly = row.text.replace("'", "’").replace(" cafe", " café")
    return "".join(misread(byte) for byte in curly.encode())


def misread(byte: int) -> str:
    """Read one byte; five bytes mean nothing in Windows-1252 and pass as control characters."""
    try:
        return bytes([byte]).decode("cp1252")
    except UnicodeDecodeError:
        return chr(byte)


def markup(row: Row, turn: int) -> str:
    """Leave a bit of HTML in the text."""
    longest = max(row.text.split(), key=len)
    ways = (
        row.text.replace(" and ", " &amp;amp; ", 1),
        row.text.replace(". ", ".<br>", 1).replace("，", "，<br>", 1),
        row.text.replace("'", "&#39;"),
        row.text + "<br><br>",
        f"<p>{row.text}</p>",
        row.text.replace(longest, f"<b>{longest}</b>", 1) if row.language == "en" else row.text,
        "&nbsp;" + row.text,
    )
    return ways[turn % len(ways)]


def personal(row: Row, turn: int) -> str:
    """Append an address or a number as people do who want to be found."""
    contacts = CONTACTS[row.language]
    return row.text + " " + contacts[turn % len(contacts)]


def exact_copies(
    originals: Iterable[Row], rows: Sequence[Row], generator: random.Random
) -> list[Row]:
    """Repeat rows: a double click by the same user, or a text that others passed on."""
    copies = []
    for number, row in enumerate(originals):
        copy = replace(row, dirt="exact", posted=row.posted + timedelta(seconds=31 + number))
        if number % 2:
            later = row.posted + timedelta(hours=1 + generator.randrange(30))
            user = other_user(row, rows, generator)
            copy = replace(copy, user=user, posted=later, source=other_source(row, number))
        copies.append(copy)
    return copies


def other_user(row: Row, rows: Sequence[Row], generator: random.Random) -> str:
    """Pick a user of the same source and language who is not the author."""
    users = {
        other.user
        for other in rows
        if other.source == row.source and other.language == row.language
    }
    return generator.choice(sorted(users - {row.user}))


def other_source(row: Row, number: int) -> str:
    """Let some copies of news comments cross over, as pages and exports overlap."""
    if row.group not in ARTICLES or number % 4 != 1:
        return row.source
    return "pages" if row.source == "news.csv" else "news.csv"


def near_copies(originals: Iterable[Row]) -> list[Row]:
    """Repeat rows with a small change."""
    return [
        replace(
            row, text=nearly(row, number), dirt="near", posted=row.posted + timedelta(minutes=7)
        )
        for number, row in enumerate(originals)
    ]


def nearly(row: Row, number: int) -> str:
    """Change one or two words, add an ending, or make a slip of the finger."""
    # Chinese has no spaces, so only the English words are looked for as words.
    patterns = [(rf"\b{old}\b" if old.isascii() else old, new) for old, new in SWAPS]
    swaps = [(old, new) for old, new in patterns if re.search(old, row.text)]
    if number % 3 == 0 or (not swaps and row.language == "zh"):
        return row.text.rstrip(".!。！") + ENDINGS[row.language, row.label]
    if not swaps:
        return slip(row.text)
    text = row.text
    for old, new in swaps[:2]:
        text = re.sub(old, new, text, count=1)
    return text


def slip(text: str) -> str:
    """Let two letters in the middle of the longest word change places."""
    word = max(re.findall(r"[a-z]+", text), key=len)
    middle = len(word) // 2
    slipped = word[: middle - 1] + word[middle] + word[middle - 1] + word[middle + 1 :]
    return text.replace(word, slipped, 1)


def foreign(clock: Clock) -> list[Row]:
    """Add the rows in other languages; each third of the comments goes onto a page."""
    rows = []
    for number, (language, kind, group, label, user, text) in enumerate(FOREIGN):
        news = "pages" if number % 3 == 0 else "news.csv"
        source = news if kind == "news" else "posts.sqlite"
        posted = clock.time(source, group)
        rows.append(Row(source, group, language, user, label, text, posted, "foreign"))
    return rows


def noise(rows: Sequence[Row], clock: Clock, generator: random.Random) -> list[Row]:
    """Add rows that say nothing. People who label whole files call them neutral."""
    texts = [("none", blank, "empty") for blank in BLANKS]
    texts += [(language, text, "one_word") for language, text in ONE_WORD]
    texts += [(language, text, "spam") for language, text in SPAM]
    made = []
    for language, text, dirt in texts:
        # A row of the same language shows where such a text would turn up.
        place = generator.choice([row for row in rows if language in ("none", row.language)])
        made.append(
            replace(
                place,
                language=language,
                text=text,
                label="neutral",
                dirt=dirt,
                user=other_user(place, rows, generator),
                posted=clock.time(place.source, place.group),
            )
        )
    return made


def timestamp(moment: datetime) -> str:
    """Write a time the way the sources carry it."""
    return moment.isoformat() + "Z"


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Sort by time; the rest of the key only settles ties."""
    return sorted(rows, key=lambda row: (row.posted, row.group, row.user, row.text, row.dirt))


def numbered(rows: Iterable[Row]) -> list[tuple[str, Row]]:
    """Give comments of the table and the pages identifiers out of one series."""
    news = in_order(row for row in rows if row.source != "posts.sqlite")
    return [(f"c{number}", row) for number, row in enumerate(news, start=FIRST_COMMENT_NUMBER)]


def write_table(comments: Iterable[tuple[str, Row]]) -> None:
    """Write news.csv."""
    with (TARGET / "news.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["comment_id", "article", "posted_at", "user", "comment", "sentiment"])
        for identifier, row in comments:
            if row.source == "news.csv":
                time = timestamp(row.posted)
                writer.writerow([identifier, row.group, time, row.user, row.text, row.label])


def write_pages(comments: Sequence[tuple[str, Row]], clock: Clock) -> None:
    """Write one page for each article."""
    folder = TARGET / "pages"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for article in ARTICLES:
        listed = [
            comment(identifier, row)
            for identifier, row in comments
            if row.source == "pages" and row.group == article
        ]
        page = page_of(article, listed, clock.opening(article))
        (folder / f"{article}.html").write_text(page, encoding="utf-8", newline="\n")


def comment(identifier: str, row: Row) -> str:
    """Write a comment as a list item."""
    return (
        f'<li class="comment" id="{identifier}" data-user="{html.escape(row.user)}"'
        f' data-sentiment="{row.label}" data-posted="{timestamp(row.posted)}">'
        f'<span class="user">{html.escape(row.user, quote=False)}</span>'
        f'<p class="text">{html.escape(row.text, quote=False)}</p></li>'
    )


def page_of(article: str, listed: Sequence[str], published: datetime) -> str:
    """Fill the page of an article."""
    headline, author, paragraphs = ARTICLES[article]
    slugs = list(ARTICLES)
    place = slugs.index(article)
    related = [slugs[(place + step) % len(slugs)] for step in (1, 2, 3)]
    return PAGE.substitute(
        article=article,
        headline=html.escape(headline, quote=False),
        author=author,
        published=timestamp(published),
        date=f"{published.day} {published:%B %Y}",
        body="\n".join(f"<p>{html.escape(text, quote=False)}</p>" for text in paragraphs),
        count=len(listed),
        comments="\n".join(listed),
        related="\n".join(
            f'<li><a href="{slug}.html">{html.escape(ARTICLES[slug][0], quote=False)}</a></li>'
            for slug in related
        ),
    )


def write_posts(rows: Iterable[Row]) -> None:
    """Write posts.sqlite from nothing, so that no earlier build leaves traces in its pages."""
    path = TARGET / "posts.sqlite"
    path.unlink(missing_ok=True)
    posts = in_order(row for row in rows if row.source == "posts.sqlite")
    values = [
        (number, row.group, row.user, timestamp(row.posted), row.text, MOODS[row.label])
        for number, row in enumerate(posts, start=1)
    ]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA page_size = 4096")
        connection.execute(
            "CREATE TABLE posts (id INTEGER PRIMARY KEY, topic TEXT, user TEXT,"
            " posted_at TEXT, body TEXT, mood TEXT)"
        )
        connection.executemany("INSERT INTO posts VALUES (?, ?, ?, ?, ?, ?)", values)
        connection.commit()
        connection.execute("VACUUM")


def count_table(
    title: str, names: dict[str, str], rows: Sequence[Row], attribute: str
) -> list[str]:
    """Write a table of counts: one line for each name, one column for each source."""
    counts = Counter((getattr(row, attribute), row.source) for row in rows)
    lines = [
        f"| {title} | " + " | ".join(f"`{source}`" for source in SOURCES) + " | together |",
        "| --- |" + " ---: |" * (len(SOURCES) + 1),
    ]
    for name, words in names.items():
        numbers = [counts[name, source] for source in SOURCES]
        lines.append(table_line(words, numbers))
    totals = [sum(counts[name, source] for name in names) for source in SOURCES]
    return [*lines, table_line("together", totals)]


def table_line(words: str, numbers: Sequence[int]) -> str:
    """Write one line of a table of counts with its sum."""
    cells = [str(number) for number in (*numbers, sum(numbers))]
    return f"| {words} | " + " | ".join(cells) + " |"


def write_readme(rows: Sequence[Row]) -> None:
    """Write what the sample is, with counts taken from the rows themselves."""
    labels = {label: label for label in LABELS} | {"": "no label"}
    dirty = sum(bool(row.dirt) for row in rows)
    parts = [
        README_HEAD.substitute(rows=len(rows)),
        "\n".join(count_table("label", labels, rows, "label")),
        "\n".join(count_table("language", LANGUAGES, rows, "language")),
        README_DIRT.substitute(dirty=dirty, share=f"{100 * dirty / len(rows):.0f}"),
        "\n".join(count_table("dirt", DIRT, rows, "dirt")),
        README_END,
    ]
    text = "\n\n".join(parts)
    (TARGET / "README.md").write_text(text, encoding="utf-8", newline="\n")


README_HEAD = Template("""# Sample data

$rows short texts with a sentiment label, in three sources that differ the way sources do:

- `news.csv`: comments of readers of a local news site, in English and Chinese. The label is in
  `sentiment`: `negative`, `neutral` or `positive`.
- `pages/*.html`: more of these comments, still on the pages of the site, one page for each article.
  Each is an `<li class="comment">`, its label is in `data-sentiment`.
- `posts.sqlite`: microblog posts in English and Chinese, table `posts`. The label is in `mood` and
  is named differently: `neg`, `neu` or `pos`.

All of it was written for this project. The Harbour Courier, its town, its readers and all that
happens there are fictional; so are the user names. The sample is licensed under Apache-2.0, like
the project. It is small, and made to show the path from raw text to a model that is in use. It
does not claim quality: what a model scores here says little about other texts.

## What is in it""")

README_DIRT = Template("""## Dirt

$dirty of the rows, $share %, were spoiled or added on purpose, because raw text is never clean. A
row has one kind of dirt at most. A duplicate counts as dirt, the row it repeats does not; some
duplicates of comments are in the other of the two news sources. Rows that say nothing (empty, one
word, spam) carry the label `neutral`.""")

README_END = """## How to rebuild it

`python tools/sample/build.py` writes this folder, this file included, from the rows in
`tools/sample/`. Do not edit it here.
"""


def main() -> None:
    """Build the sample."""
    generator = random.Random(SEED)
    clock = Clock(generator)
    clean = english_news(clock) + english_posts(clock) + chinese(clock)
    rows = spoil(clean, clock, generator)
    TARGET.mkdir(parents=True, exist_ok=True)
    comments = numbered(rows)
    write_table(comments)
    write_pages(comments, clock)
    write_posts(rows)
    write_readme(rows)
    print(f"{len(rows)} rows in {TARGET}")


if __name__ == "__main__":
    main()
