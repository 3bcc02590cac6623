"""Links keep their meaning where a page stands in the site, or includes a README.

In a README a link is relative to the README; in the page that includes it, it would be relative to the page. A link to
a README or to NOTES.md of benchmarks leads to the page that includes it, a link into docs/ to that page, and any other
file is offered as it is. What is not there stays as it is written, and Sphinx complains.
"""

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

REPOSITORY = Path(__file__).resolve().parents[2]
LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)#\s]+)")


def page_of(file: Path) -> str:
    """Return what a link to `file` is called in a page: a path from the root of the documentation."""
    folder = file.parent if file.name == "README.md" else file
    if folder == REPOSITORY:
        return "/index.md"
    if folder.parent == REPOSITORY / "packages":
        return f"/packages/{folder.name}.md"
    if file.name == "NOTES.md":
        return f"/benchmarks/{file.parts[-3]}.md"
    return "/" + os.path.relpath(file, REPOSITORY / "docs")


def rewrite(text: str, folder: Path) -> str:
    """Return `text`, Markdown of a file in `folder`, with links that hold in every page."""

    def meant(link: re.Match[str]) -> str:
        file = (folder / link[1]).resolve()
        return page_of(file) if file.exists() else link[1]

    return LINK.sub(meant, text)


def on_include(app: Sphinx, relative_path: Path, _parent: str, content: list[str]) -> None:
    """Rewrite what a page includes, before it is parsed."""
    content[0] = rewrite(content[0], (Path(app.srcdir) / relative_path).resolve().parent)


def on_read(app: Sphinx, page: str, content: list[str]) -> None:
    """Rewrite a page before it is parsed."""
    content[0] = rewrite(content[0], Path(app.env.doc2path(page)).parent)


def setup(app: Sphinx) -> dict[str, bool]:
    """Listen to what is read and included."""
    app.connect("source-read", on_read)
    app.connect("include-read", on_include)
    return {"parallel_read_safe": True}
