"""Formulas as MathML, which browsers draw by themselves: no script, no font and no network, and search finds them."""

from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging


def _mathml(translator: Any, node: nodes.Element, block: bool) -> str:
    try:
        return tex2mathml(node.astext(), as_block=block)
    except MathError as error:
        logging.getLogger(__name__).warning("a formula that MathML cannot show: %s", error, location=node)
        return translator.encode(node.astext())


def _inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(f'<span class="math">{_mathml(translator, node, False)}</span>')
    raise nodes.SkipNode


def _displayed(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="math displayed">{_mathml(translator, node, True)}</div>')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, Any]:
    app.add_html_math_renderer("mathml", (_inline, None), (_displayed, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
