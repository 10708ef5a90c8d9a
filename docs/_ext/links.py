"""Check every link of the built site: pages and anchors within it, the form of those that lead out.

Nothing is asked of the network. Scripts, styles, fonts and pictures have to be on the site itself.
"""

from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sphinx.util import logging

logger = logging.getLogger(__name__)

#: What loads a file by itself, and by which attribute.
LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}
#: Links in the head of a page that load nothing.
UNLOADED = {"search", "next", "prev", "index", "author", "canonical", "copyright"}
SCHEMES = {"http", "https", "mailto", "data", "doi"}


class Page(HTMLParser):
    """Read the anchors, the links and the loaded files of a page.

    Attributes
    ----------
    anchors : set of str
        Values of ``id`` and ``name``.
    links : list of str
        Addresses of ``a``.
    loaded : list of str
        Addresses of what the page loads by itself.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag names, links to or loads."""
        values = {name: value for name, value in attrs if value}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        loads = tag in LOADED and LOADED[tag] in values
        if loads and not UNLOADED & set(values.get("rel", "").split()):
            self.loaded.append(values[LOADED[tag]])


def broken_links(site: Path) -> dict[str, list[str]]:
    """List what is wrong with the links of each page of a site, by the page's path in it."""
    pages = {path: Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    faults: dict[str, list[str]] = defaultdict(list)
    for path, page in pages.items():
        name = str(path.relative_to(site))
        if name.startswith("_static/"):
            continue
        for address in page.loaded:
            if urlsplit(address).scheme not in ("", "data") or address.startswith("//"):
                faults[name].append(f"loads {address} from outside")
        for address in dict.fromkeys([*page.links, *page.loaded]):
            if fault := _fault_of(address, path, site, pages):
                faults[name].append(fault)
    return dict(faults)


def _fault_of(address: str, path: Path, site: Path, pages: dict[Path, Page]) -> str:
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        is_whole = parts.scheme in ("mailto", "data") or "." in parts.netloc
        return "" if parts.scheme in SCHEMES and is_whole else f"{address}: no address"
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    target = target / "index.html" if target.is_dir() else target
    if not target.is_relative_to(site) or not target.is_file():
        return f"{address}: no such page"
    anchor = unquote(parts.fragment)
    if anchor and target in pages and anchor not in pages[target].anchors:
        return f"{address}: no such anchor"
    return ""


def _check(app: Any, error: Exception | None) -> None:
    if error is None and app.builder.name == "html":
        for page, faults in broken_links(Path(app.outdir).resolve()).items():
            for fault in faults:
                logger.warning("%s: %s", page, fault)


def setup(app: Any) -> dict[str, bool]:
    """Check the site once it is built."""
    app.connect("build-finished", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
