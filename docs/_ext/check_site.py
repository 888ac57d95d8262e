"""Checks a built site: every link inside it resolves, every public name has a page, every picture has words.

`python docs/_ext/check_site.py build/site`; it prints what is wrong, one fault a line, and fails if there is any.
"""

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import public


class Page(HTMLParser):
    """The links, anchors and pictures of one page, and what it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.silent: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors |= {value for name, value in attrs if name in ("id", "name") and value}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")
        if tag in ("img", "script", "iframe") and given.get("src"):
            self.loaded.append(given["src"] or "")
        if tag == "link" and given.get("rel") != "canonical" and given.get("href"):
            self.loaded.append(given["href"] or "")
        if tag == "img" and not (given.get("alt") or "").strip():
            self.silent.append(given.get("src") or "")


def faults(site: Path) -> Iterator[str]:
    """What is wrong with the site, in words."""
    pages = {path.resolve(): Page(path) for path in site.rglob("*.html") if "_static" not in path.parts}
    if not pages:
        yield f"{site} has no pages"
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        for link in {*page.links, *page.loaded}:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loaded and parts.scheme != "data":
                    yield f"{name} loads {link} from the network"
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                yield f"{name} links to {link}, which is not there"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors | {"top"}:
                yield f"{name} links to {link}, and there is no such place on that page"
        yield from (f"{name} shows {picture} without words" for picture in page.silent)
    objects = {anchor for page in pages.values() for anchor in page.anchors}
    for name in public.names():
        if name not in objects:
            yield f"{name} is public and has no page: add it to a list in docs/api"
    if not (site / "searchindex.js").exists():
        yield "the site has no index to search in"


if __name__ == "__main__":
    found = sorted(faults(Path(sys.argv[1])))
    print(
        "\n".join(found)
        or f"{len(list(Path(sys.argv[1]).rglob('*.html')))} pages: every link inside resolves, "
        f"and each of {len(public.names())} public names has its page"
    )
    sys.exit(bool(found))
