"""Settings of the documentation site, which ./launch/docs builds: Sphinx, MyST for Markdown, Furo for the looks."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent / "site"), str(Path(__file__).parents[1])]

import hpc_adabatch

project = "hpc_adabatch"
copyright = "2026 the hpc_adabatch authors"
release = version = hpc_adabatch.__version__
html_title = f"{project} {release}"
html_theme = "furo"
html_static_path = ["site/site.css"]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = False
exclude_patterns = ["site"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
extensions += ["docstrings", "formulas", "repository_links"]  # of site/
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3  # as GitHub numbers them, so that a link to a heading is right in both
highlight_language = "none"  # indented blocks are commands and formulas; Python says so
html_math_renderer = "mathml"  # formulas.py

autosummary_generate = False
autodoc_class_signature = "mixed"
python_maximum_signature_line_length = 90
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False  # what a rule has of its interface stands there
autodoc_preserve_defaults = True
autodoc_type_aliases = {"ParamsT": "ParamsT"}  # torch's own, which would fill three lines
napoleon_use_ivar = True
napoleon_numpy_docstring = False
