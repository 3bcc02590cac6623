"""How Sphinx builds the documentation. `nox -s docs` does it, with warnings as errors."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS / "extensions"))

project = "CCNet"
copyright = "the CCNet authors, MIT licence"
release = version = version_of("ccnet-core")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
extensions += ["command_help", "repository_links", "short_arrays"]
exclude_patterns = ["tests", "extensions"]
nitpicky = True
# Names of other libraries: their inventories lie elsewhere, and a build asks nothing of the network.
nitpick_ignore_regex = [("py:.*", r"(torch|numpy|np|PIL|pathlib|collections|typing|dict|torchvision)\b.*")]

myst_heading_anchors = 4
# `text` in a docstring is code; a reference that must resolve is written as a role.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
# An extra, in a build that fits the torch beside it: the pages need its names only.
autodoc_mock_imports = ["torchvision"]
python_maximum_signature_line_length = 88
add_module_names = False

html_theme = "furo"
html_favicon = "concepts/icon.svg"
html_title = f"CCNet {release}"
html_copy_source = False
html_show_sphinx = False
html_static_path: list[str] = []
pygments_style, pygments_dark_style = "friendly", "github-dark"
