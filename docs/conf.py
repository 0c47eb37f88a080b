"""Sphinx configuration: Markdown pages, furo."""

project = "txafs"
author = "the txafs authors"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "txafs"
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
# The protocol pages cite files of the OpenAFS source; nothing to link to.
suppress_warnings = ["myst.xref_missing"]
