"""A page as blocks of text: one walk over its tree that leaves out what is never prose."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any


def _words(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Never prose. The tree below them is not looked at.
_SKIPPED = _words(
    "script style noscript svg template iframe object embed applet canvas audio video map button"
    " select option input textarea nav footer aside head title meta link math menu dialog figure"
    " picture img"
)
_BLOCKS = _words(
    "html body div p article section main header hgroup h1 h2 h3 h4 h5 h6 ul ol li dl dt dd table"
    " thead tbody tfoot tr td th caption blockquote pre address center fieldset details summary"
    " form hr br"
)
CONTAINERS = _words("body div article section main form td tr table tbody center")
_HEADINGS = _words("h1 h2 h3 h4 h5 h6")
_NEVER_NAMED = frozenset(["html", "body", "main", "article", *_HEADINGS])
# Inline elements whose names say nothing about what they hold.
_PLAIN = _words("a b i em strong u s small sub sup abbr cite code q mark br tr tbody")

# Words in the class or id of what stands around an article rather than in it.
_AROUND = _words(
    "comment comments commenting disqus respond replies sidebar sidebars rail related"
    " recommended recommendations recommendation recommend recirc share sharing shares sharebar"
    " social footer nav navbar navigation menu menus breadcrumb breadcrumbs newsletter newsletters"
    " subscribe subscription subscriptions signup promo promos promotion advert advertisement"
    " advertisements adverts ads ad sponsor sponsored cookie cookies consent gdpr popup modal"
    " overlay byline dateline timestamp author authors bio tags tag taglist caption captions credit"
    " credits gallery slideshow carousel more most popular trending outbrain taboola widget widgets"
    " toolbar masthead meta metadata hidden pagination pager rating ratings login print follow"
    " teaser teasers"
)
# Words that name an article's own body: text_body, articleBody, entry-content.
_BODY = _words("body content copy text contents")
_ARTICLE = _words("article story entry post blog main page news")
_WORD = re.compile(r"[A-Z]?[a-z]+")

_HIDDEN = re.compile(r"display\s*:\s*none", re.I)

_DEEPEST = 200  # levels; below, text is taken without its structure
_MOST_DOUBTS = 64  # measurings of subtrees that may not be around the article: bounds the time
_LARGE_SHARE = 0.65  # of a page's paragraphs: what holds so much is not around the article
_FEWEST_CHARACTERS = 400


@dataclass(slots=True)
class Block:
    """One paragraph, heading, item or cell, on one line."""

    text: str
    link_characters: int
    node: int  # its element, a row of the outline
    tag: str


@dataclass(slots=True)
class Outline:
    """A page's block elements in the order of the page, and the text in them.

    A node's parent stands before it; the root's parent is -1.
    """

    blocks: list[Block] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    is_body: list[bool] = field(default_factory=list)  # named as an article's body


def outline(body: Any, *, is_strict: bool = True) -> Outline:
    """Return the blocks below an lxml element; strictly, without what its names say is around."""
    walk = _Walk(body, is_strict)
    walk.enter(body, -1, "body", 0)
    walk.end_block(0, "body")
    return walk.outline


class _Walk:
    """The state of one walk: the line being gathered, and what has been found."""

    def __init__(self, body: Any, is_strict: bool) -> None:
        self.outline = Outline()
        self._line: list[str] = []
        self._link_characters = 0
        self._is_strict = is_strict
        # Old pages write prose into whatever stands nearest.
        has_paragraphs = _characters(body, ("p",)) >= _FEWEST_CHARACTERS
        self._prose_tags = ("p",) if has_paragraphs else ("p", "div", "td", "span", "li", "br")
        self._prose = max(_FEWEST_CHARACTERS, _characters(body, self._prose_tags))
        self._kinds: dict[str, tuple[bool, bool]] = {}
        self._doubts = 0

    def end_block(self, node: int, tag: str) -> None:
        """Close the line that has been gathered."""
        if self._line:
            text = " ".join("".join(self._line).split())
            self._line.clear()
            if text:
                self.outline.blocks.append(Block(text, self._link_characters, node, tag))
        self._link_characters = 0

    def enter(self, element: Any, node: int, tag: str, depth: int) -> None:
        """Take up an element and what is in it; ``node`` and ``tag`` are those of its block.

        One function rather than three: it is called for every element of every page.
        """
        own = element.tag
        if own in _SKIPPED:
            return
        is_body = False
        if own not in _PLAIN:
            names = element.get("class", "") + " " + element.get("id", "")
            if names != " ":
                is_around, is_body = self._kinds.get(names) or self._kind(names)
                if is_around and own not in _NEVER_NAMED and not self._is_large(element):
                    return
            if own == "div" and _HIDDEN.search(element.get("style", "")):
                return
        is_block = own in _BLOCKS
        if is_block:
            self.end_block(node, tag)
            if own == "br":
                return
            node, tag = self._open_node(element, node, own, is_body), own
        line = self._line
        start = len(line)
        if text := element.text:
            line.append(text)
        if depth > _DEEPEST:
            line.extend(text for child in element for text in child.itertext())
        else:
            for child in element:
                self.enter(child, node, tag, depth + 1)
                if text := child.tail:
                    line.append(text)
        if is_block:
            self.end_block(node, tag)
        elif own == "a":
            self._link_characters += sum(map(len, line[start:]))

    def _open_node(self, element: Any, parent: int, tag: str, is_body: bool) -> int:
        outline = self.outline
        outline.parents.append(parent)
        outline.tags.append(tag)
        is_named = is_body or element.get("itemprop") == "articleBody"
        outline.is_body.append(is_named and tag in CONTAINERS)
        return len(outline.parents) - 1

    def _kind(self, names: str) -> tuple[bool, bool]:
        """Return whether names say around the article, and whether they say its body."""
        words = {word.lower() for word in _WORD.findall(names)}
        is_body = not (words.isdisjoint(_BODY) or words.isdisjoint(_ARTICLE))
        is_around = self._is_strict and not is_body and not words.isdisjoint(_AROUND)
        kind = self._kinds[names] = (is_around, is_body)
        return kind

    def _is_large(self, element: Any) -> bool:
        self._doubts += 1
        if self._doubts > _MOST_DOUBTS:
            return True
        return _characters(element, self._prose_tags) >= _LARGE_SHARE * self._prose


def _characters(element: Any, tags: tuple[str, ...]) -> int:
    """Return how much text stands in such elements, or behind them if they are line breaks."""
    return sum(
        len((found.tail if found.tag == "br" else found.text) or "")
        for found in element.iter(*tags)
    )
