"""Let the site take in files of the checkout, whose links are written for readers of the checkout.

A page may link to ``../GLOSSARY.md``, and ``CONTRIBUTING.md``, which a page takes in, to
``docs/study.md``: both hold where files are read as they lie. On the site they become links
between pages.
"""

import re
from typing import Any

#: Files outside of ``docs/`` that are pages of the site.
PAGES = {
    "GLOSSARY.md": "glossary.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "README.md": "index.md",
    "fmnet/networks/signature_cnn.md": "signature_cnn.md",
}
#: Where a link's address begins, in the text of a page.
LINK = re.compile(r"(?<=\]\()(?:\./)?([^)\s]+)(?=\))")


def on_site(address: str, is_outside: bool) -> str:
    """Give the address on the site of what a page, or a file outside of ``docs/``, links to."""
    path, mark, anchor = address.partition("#")
    if not path or "://" in path or path.startswith("mailto:"):
        return address
    if is_outside:
        path = path.removeprefix("docs/") if path.startswith("docs/") else f"../{path}"
    return PAGES.get(path.removeprefix("../"), path) + mark + anchor


def _rewrite(text: str, is_outside: bool) -> str:
    return LINK.sub(lambda link: on_site(link.group(1), is_outside), text)


def _read(_app: Any, name: str, content: list[str]) -> None:
    if not name.startswith("generated/"):
        content[0] = _rewrite(content[0], is_outside=False)


def _include(_app: Any, path: Any, _parent: str, content: list[str]) -> None:
    content[0] = _rewrite(content[0], is_outside=path.parts[0] == "..")


def setup(app: Any) -> dict[str, bool]:
    """Rewrite pages as they are read."""
    app.connect("source-read", _read)
    app.connect("include-read", _include)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
