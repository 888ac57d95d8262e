"""Formulas as MathML, which browsers draw by themselves: no script, no font and no network, and search finds them."""

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.util import logging

# A bar beside a letter is a delimiter, and not an operator with room around it.
_BAR = re.compile(r"<mo[^>]*>(?:&#x0007C;|\|)</mo>")


def _mathml(node: nodes.Element, display: str) -> str:
    warn = logging.getLogger(__name__).warning
    try:
        result = convert(node.astext(), display=display)
    except Exception as error:  # what its parser raises has no common class
        warn("a formula that MathML cannot show: %r in %s", error, node.astext(), location=node)
        return nodes.unescape(node.astext())
    if unknown := re.findall(r"\\[a-zA-Z]+", result):
        warn("a formula with commands that MathML does not know: %s", ", ".join(unknown), location=node)
    return _BAR.sub('<mo stretchy="false" lspace="0" rspace="0">|</mo>', result)


def _inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(f'<span class="formula">{_mathml(node, "inline")}</span>')
    raise nodes.SkipNode


def _displayed(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="displayed formula">{_mathml(node, "block")}</div>')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, Any]:
    app.add_html_math_renderer("mathml", (_inline, None), (_displayed, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
