"""The directive `commands`: what every command of `jaxinertia` does and takes, from the program itself."""

from typing import Any

import typer.main
from docutils import nodes
from docutils.parsers.rst import Directive

from jaxinertia.report.cli import app as program


def _described(parameter: Any) -> nodes.definition_list_item:
    """An argument or option: how it is written, what it is for, and what it is when it isn't given."""
    written = ", ".join([*parameter.opts, *parameter.secondary_opts]) if parameter.param_type_name == "option" else ""
    text = getattr(parameter, "help", None) or ""
    default = parameter.default
    if not parameter.required and default not in (None, False, True, ()) and not callable(default):
        text += f" Default: {getattr(default, 'value', default)}."
    item = nodes.definition_list_item()
    item += nodes.term("", "", nodes.literal(text=written or parameter.name.upper()))
    item += nodes.definition("", nodes.paragraph(text=text.strip()))
    return item


class Commands(Directive):
    def run(self) -> list[nodes.Node]:
        sections = []
        for name, command in typer.main.get_command(program).commands.items():
            section = nodes.section("", nodes.title("", "", nodes.literal(text=f"jaxinertia {name}")))
            section["names"] = [f"jaxinertia-{name}"]
            self.state.document.note_implicit_target(section, section)
            for paragraph in (command.help or "").split("\n\n"):
                section += nodes.paragraph(text=" ".join(paragraph.split()))
            parameters = [p for p in command.params if p.name != "help"]
            if parameters:
                section += nodes.definition_list("", *(_described(parameter) for parameter in parameters))
            sections.append(section)
        return sections


def setup(app: Any) -> dict[str, Any]:
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
