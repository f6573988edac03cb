"""What must hold for the HTML of every card."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

ALLOWED = {
    *("div", "span", "details", "summary", "code", "pre", "img"),
    *("table", "thead", "tbody", "tr", "th", "td", "svg", "path"),
}
VOID = {"img"}


@dataclass
class Seen(HTMLParser):
    """Tags, texts and rows of a card, and what is wrong with it."""

    text: str = ""
    rows: int = 0
    svgs: int = 0
    images: list[bytes] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    def __post_init__(self):
        super().__init__()

    def handle_starttag(self, tag, attrs):
        said = dict(attrs)
        if tag not in ALLOWED:
            self.wrong.append(f"<{tag}>")
        self.wrong += [f"{name}=" for name in said if name.startswith("on") or name == "href"]
        if tag == "img":
            kind, _, content = said["src"].partition("base64,")
            self.wrong += [] if kind == "data:image/png;" and said.get("alt") else [f"img {kind!r}"]
            self.images.append(base64.b64decode(content))
        if tag == "svg":
            self.svgs += 1
            self.wrong += (
                [] if said.get("aria-label") and said.get("role") == "img" else ["svg without a name"]
            )
        self.rows += tag == "tr"
        self.open += [] if tag in VOID or self.get_starttag_text().endswith("/>") else [tag]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> closes nothing")

    def handle_data(self, data):
        self.text += data


def seen(html: str, *, most: int = 100_000) -> Seen:
    """What a browser would see in a card, after checking that it is small, well-formed and harmless."""
    assert len(html.encode()) <= most
    found = Seen()
    found.feed(html)
    found.close()
    assert found.wrong == []
    assert found.open == []
    assert "mathjax_ignore" in html.split(">")[0]
    colours = set(re.findall(r"#[0-9a-fA-F]{3,8}\b", re.sub(r"&#\w+;|base64,[^\"]*|>[^<]*<", "", html)))
    assert colours <= {"#3b82c4"}, "colours other than the page's own may be unreadable in a dark theme"
    return found
