"""The documentation's site, built by `make docs`: everything is made here, and nothing is fetched."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

import public  # noqa: E402

import jaxinertia  # noqa: E402

public.import_under_public_paths()

project = "jaxinertia"
author = "The jaxinertia authors"
copyright = author
version = release = jaxinertia.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "myst_nb",
    "sphinx_design",
    "command_line",
    "docstrings",
    "executed",
    "gathered",
    "mathml",
]
exclude_patterns = ["README.md"]
templates_path = ["_templates"]
nitpicky = True
default_role = "name"
highlight_language = "python"
html_math_renderer = "mathml"

# Pages. Notebooks are shown with the outputs that are stored in them, which the tests keep true.
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "amsmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_merge_streams = True

# API reference: from the docstrings, whose sections say shapes and units, so that signatures need no types.
autosummary_generate = True
# `sweep` and `Sweep` are one file where letters' cases are not told apart.
autosummary_filename_map = {name: f"{name}-function" for name in public.names() if public.has_twin(name)}
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88

html_theme = "pydata_sphinx_theme"
html_title = "jaxinertia"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
