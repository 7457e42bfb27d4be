"""How Sphinx builds the pages: `make docs`."""

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from pocketkube import __version__
from pocketkube.console.quiet import quiet_libraries

quiet_libraries()

project = "PocketKube"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"PocketKube {__version__}"
html_copy_source = False
html_show_copyright = False
# An anchor for each heading, as code hosts make them.
myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
napoleon_use_ivar = True
# Docstrings write names as Markdown does.
default_role = "code"

_LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)#]*)(#[^)]*)?\)")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _without_links_to_the_checkout)


def _without_links_to_the_checkout(app: Sphinx, page: str, source: list[str]) -> None:
    """Leaves the text of links to files that are no pages: the built site has none of them."""
    folder = (Path(app.srcdir) / page).parent

    def kept(link: re.Match[str]) -> str:
        target = (folder / link[2]).resolve()
        return link[0] if target.is_relative_to(Path(app.srcdir).resolve()) else link[1]

    source[0] = _LINK.sub(kept, source[0])
