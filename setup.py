"""What pyproject.toml can't say: configs/ in the wheel is fmnet/configs; README holds there."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
#: A link of Markdown, or the picture that it shows: the text and where it leads.
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")
#: A paragraph that is a picture of this folder, and the caption in italics below it.
PICTURE = re.compile(r"^!\[[^\]]*\]\((?!https?:)[^)]+\)\n+(\*[^*].*?[^*]\*\n+)?", re.DOTALL | re.M)


def description(readme: str) -> str:
    """Rewrite README so that it holds where it is read without the files beside it.

    Pictures of this folder go with their captions; links into it become the paths of the files,
    which lie in the source distribution, as a last line says; links within the page become their
    text.
    """

    def held(match: re.Match[str]) -> str:
        text, target = match.groups()
        if target.startswith(("https://", "mailto:")):
            return match.group()
        file = target.partition("#")[0]
        return f"{text} (`{file}`)" if file and file not in text else text

    return f"{LINK.sub(held, PICTURE.sub('', readme))}\nThe files named here are in the sdist.\n"


if __name__ == "__main__":  # so that a tool of setuptools runs it, and a test reads it
    setup(
        packages=[*find_packages(ROOT, include=["fmnet", "fmnet.*"]), "fmnet.configs"],
        package_dir={"fmnet.configs": "configs"},
        long_description=description((ROOT / "README.md").read_text(encoding="utf-8")),
        long_description_content_type="text/markdown",
    )
