"""The package's docstrings are plain text with `names` in backquotes: here they become reStructuredText.

- Signs that mean something else there (|v|, a*b, x_) are kept as they are; examples are left alone.
- `name: text` at the margin, with its further lines indented, is an item of a list; a block that is indented as a whole
  is a table, and stays as it is typed. Sections (`Arguments:` and the like) are read by Sphinx's napoleon, all but
  `Attributes:`, for which it would name the fields a second time.
- A name in backquotes that is public links to its page: `ji.System`, `noise.White` and `Trajectory` alike.
"""

import re
from collections.abc import Iterator
from typing import Any

import public
from docutils import nodes
from sphinx.domains.python import PyXRefRole
from sphinx.ext import autosummary
from sphinx.ext.napoleon import Config, GoogleDocstring

_QUOTED = re.compile(r"(``.+?``|`[^`]+`)")
_SPECIAL = re.compile(r"([\\|*]|(?<=\w)_(?!\w))")
_SECTION = re.compile(r"(Arguments|Returns|Raises|Warns|Example|Examples|Yields|Note):\s*$")
_NAPOLEON = Config(napoleon_use_rtype=False, napoleon_use_ivar=True)
_ITEM = re.compile(r"(\w+(?:, \w+)*(?: \([^)]*\))?): (?=\S)")


def as_rst(lines: list[str]) -> list[str]:
    """A docstring's lines as reStructuredText."""
    result: list[str] = []
    section = False
    for block in _blocks(lines):
        section = bool(_SECTION.match(block[0])) or (section and block[0].startswith(" "))
        if section:
            result += _escaped(block)
        elif block[0] == "Attributes:":
            result += ["**Attributes:**", "", *_items(_escaped([line[4:] for line in block[1:]]))]
        elif all(line.startswith("    ") for line in block):
            result += ["::", "", *block]
        elif any(line.startswith("    ") for line in block[1:]):
            result += _items(_escaped(block))
        else:
            result += [re.sub(r"^Source: ", "**Source:** ", line) for line in _escaped(block)]
        result.append("")
    return result


def _blocks(lines: list[str]) -> Iterator[list[str]]:
    """Runs of lines between blank ones."""
    block: list[str] = []
    for line in [*lines, ""]:
        if line.strip():
            block.append(line)
        elif block:
            yield block
            block = []


def _escaped(block: list[str]) -> list[str]:
    example, result = False, []
    for line in block:
        example = example or line.lstrip().startswith(">>>")
        parts = _QUOTED.split(line)
        parts[::2] = [part if example else _SPECIAL.sub(r"\\\1", part) for part in parts[::2]]
        result.append("".join(parts))
    return result


def _items(block: list[str]) -> list[str]:
    """Lines at the margin begin the items of a list, those indented go on with them."""
    result = []
    for line in block:
        if line.startswith(" "):
            result.append("  " + line.lstrip())
        else:
            result.append("- " + _ITEM.sub(r"**\1**: ", line, count=1))
    return result


def _process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    # napoleon takes what stands before a colon in the first line of a property for its type. Here it is text.
    kind = "method" if what in ("property", "attribute") else what
    lines[:] = GoogleDocstring(as_rst(lines), _NAPOLEON, app, kind, name, obj, options).lines()


def _skip(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leaves out what a class has from another library, which documents it, and classes that it only points to."""
    if what == "class" and isinstance(obj, type):
        return True
    home = getattr(obj, "__module__", None) or getattr(getattr(obj, "fget", None), "__module__", None)
    return True if home is not None and not home.startswith("jaxinertia") else None


def _name(role: str, rawtext: str, text: str, lineno: int, inliner: Any, options: Any = None, content: Any = ()) -> Any:
    """The role of text in single backquotes: a link if it is a public name, and code in any case."""
    path = "jaxinertia." + re.sub(r"\(.*\)$", "", text).removeprefix("ji.").removeprefix("jaxinertia.")
    if path in public.names():
        return PyXRefRole()("py:obj", rawtext, f"{text} <{path}>", lineno, inliner, options or {}, content)
    return [nodes.literal(rawtext, text)], []


def setup(app: Any) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", _process)
    app.connect("autodoc-skip-member", _skip)
    app.add_role("name", _name)
    # A summary does not end at "the paper's Eq. 5".
    autosummary.WELL_KNOWN_ABBREVIATIONS = (*autosummary.WELL_KNOWN_ABBREVIATIONS, "Eq.")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
