"""Reading the tables of an HTML page, and what else is in it."""

from __future__ import annotations

from html.parser import HTMLParser


class Page(HTMLParser):
    """What a page has.

    Attributes:
        tables: Id -> label of a row -> its other cells: `data-value` where they have one, else their text.
        tags: Every tag that was opened.
        attributes: Every attribute that one had.
        unlabelled: Ids of tables without a caption, or with a heading without scope.
        text: All text.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, dict[str, list[str]]] = {}
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.unlabelled: set[str] = set()
        self.text = ""
        self._table = ""
        self._row: list[str] | None = None
        self._value: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        self.tags.add(tag)
        self.attributes |= {*said}
        if tag == "table":
            self._table = said["id"] or ""
            self.tables[self._table] = {}
            self.unlabelled.add(self._table)
        elif tag == "caption":
            self.unlabelled.discard(self._table)
        elif tag == "tr":
            self._row = []
        elif tag in {"td", "th"} and self._row is not None:
            if tag == "th" and "scope" not in said:
                self.unlabelled.add(self._table)
            self._value = said.get("data-value")
            self._row.append(self._value or "")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._row and self._value is None:
            self._row[-1] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "tr" and self._row is not None:
            label, *cells = self._row
            self.tables[self._table].setdefault(label, cells)
            self._row = None
