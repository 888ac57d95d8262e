"""`help()` of every public name, parsed: equation or definition, arguments with shapes and units, returns, errors."""

import ast
import builtins
import doctest
import inspect
import re
from types import ModuleType

import pytest

import jaxinertia as ji

SECTIONS = ("Arguments", "Attributes", "Returns", "Raises", "Warns", "Example", "Source")

# What an argument is, in the words that say so: a shape, a kind of object, a choice.
KINDS = re.compile(
    r"shape|scalar|number|array|pytree|like the|integer|how many|whether|which|key|function|callable|path|file|folder|"
    r"text|word|name|list|dict|\(low, high\)|\([a-z]+,|None|True|`ji\.|`[A-Z]|what `|an?y? `|system|as for|Axes|run",
)
# Arguments that are physical: each says its unit, or whose unit it has.
PHYSICAL = {
    *("ts", "t", "dt", "gamma", "tau", "sigma", "stiffness", "frequency", "band", "temperature", "window", "mass"),
    *("momentum", "velocity", "speed", "speed_limit", "rate"),
}
UNITS = re.compile(
    r"time|energ|length|mass|cycles|unit|steps|readings|speed|position's|as for|dimensionless|ratio|share|per ", re.I
)


def public():
    """Each public function and class by the name a user writes."""
    found = {}
    for name in dir(ji):
        member = getattr(ji, name)
        if isinstance(member, ModuleType):
            found |= {f"{name}.{inner}": getattr(member, inner) for inner in dir(member)}
        elif callable(member):
            found[name] = member
    # The import hook that checks annotations in tests leaves names of its own in modules.
    return {name: x for name, x in found.items() if getattr(x, "__module__", "").startswith("jaxinertia")}


PUBLIC = public()

# Where physics is defined, the equation comes first; elsewhere a sentence says what the thing is.
EQUATIONS = ("analytic.", "damping.", "kinetic.", "noise.", "potentials.")
ALSO = {
    *("System", "simulate", "inertia", "modified_inertia", "shadow_inertia", "noether", "fit", "modes", "compare"),
    *("Balance", "BrownianPath", "Charge", "Modes", "Observations", "Trajectory"),
    *("training." + name for name in ("as_optimizer", "damped_invariant", "monitor", "to_optax", "to_physical")),
}


def parsed(doc):
    """(what comes before the sections, the text of each section)."""
    parts = re.split(rf"^({'|'.join(SECTIONS)}): *", inspect.cleandoc(doc or ""), flags=re.MULTILINE)
    return parts[0].strip(), {
        title: inspect.cleandoc(text) for title, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def entries(text):
    """{names: text} of a section whose entries start at its margin: 'a, b: what they are'."""
    blocks = re.split(r"^(?=\S)", text, flags=re.MULTILINE)
    pairs = [block.split(":", 1) for block in blocks if block.strip()]
    return {pair[0].strip(): " ".join(pair[-1].split()) for pair in pairs}


def described(text):
    """{name: text} with each name of an entry on its own, without the stars of *args."""
    return {name.strip(" *"): what for names, what in entries(text).items() for name in names.split(",")}


def parameters(member):
    return [name for name in inspect.signature(member).parameters if name not in ("self", "cls")]


def fields(cls):
    """What an instance has: the fields of a module or a named tuple."""
    return {name for name in getattr(cls, "__dataclass_fields__", getattr(cls, "_fields", ())) if name[0] != "_"}


def is_set(cls, name):
    return hasattr(cls, name) or f"self.{name}" in inspect.getsource(cls)


def is_result(member):
    """Whether it is a class that users read and do not make: it has Attributes in place of Arguments."""
    return inspect.isclass(member) and "Attributes" in parsed(member.__doc__)[1]


@pytest.fixture(scope="module")
def told():
    return {name: parsed(member.__doc__) for name, member in PUBLIC.items()}


def test_equation_or_definition_comes_first(told):
    faults = []
    for name, (head, _) in told.items():
        first, *more = head.split("\n\n")
        if len(first) < 25 or not first.rstrip().endswith((".", ":", "!")):
            faults.append((name, first))
        defines = name.startswith(EQUATIONS) or name in ALSO
        if defines and not any(set("=~") & set(text) for text in (first, *more[:1])):
            faults.append((name, "no equation", first))
    assert not faults, "\n".join(map(str, faults))


def test_every_argument_is_described_and_nothing_else(told):
    faults = []
    for name, member in PUBLIC.items():
        sections = told[name][1]
        if is_result(member):
            wanted, given = fields(member), set(described(sections["Attributes"]))
            missing, stale = wanted - given, {name for name in given - wanted if not is_set(member, name)}
        else:
            wanted, given = set(parameters(member)), set(described(sections.get("Arguments", "")))
            missing, stale = wanted - given, given - wanted
        if missing or stale:
            faults.append((name, "missing", sorted(missing), "stale", sorted(stale)))
    assert not faults, "\n".join(map(str, faults))


def test_arguments_say_their_shape_and_their_unit(told):
    faults = []
    for name, (_, sections) in told.items():
        for argument, text in described(sections.get("Arguments", "")).items():
            if not KINDS.search(text):
                faults.append((name, argument, "kind", text))
            if argument in PHYSICAL and not UNITS.search(text):
                faults.append((name, argument, "unit", text))
    assert not faults, "\n".join(map(str, faults))


def test_what_is_returned_and_what_is_refused(told):
    faults = []
    for name, member in PUBLIC.items():
        sections = told[name][1]
        if inspect.isfunction(member) and not sections.get("Returns"):
            faults.append((name, "Returns"))
        if not is_result(member) and parameters(member) and not sections.get("Raises"):
            faults.append((name, "Raises"))
        for error in entries(sections.get("Raises", "")):
            if not issubclass(getattr(builtins, error, object), Exception):
                faults.append((name, "Raises", error))
    assert not faults, "\n".join(map(str, faults))


def resolved(node):
    """What `ji.this.that` in an example is, or None for anything else."""
    if isinstance(node, ast.Name):
        return ji if node.id == "ji" else None
    if isinstance(node, ast.Attribute) and (owner := resolved(node.value)) is not None:
        return getattr(owner, node.attr)
    return None


def test_examples_are_python_and_call_what_there_is(told):
    faults = []
    for name, member in PUBLIC.items():
        examples = doctest.DocTestParser().get_examples(told[name][1].get("Example", ""))
        if not examples and not is_result(member):
            faults.append((name, "no example"))
        for example in examples:
            for node in ast.walk(ast.parse(example.source)):
                if isinstance(node, ast.Attribute):
                    resolved(node)  # AttributeError for a name that does not exist
                if not isinstance(node, ast.Call) or not callable(called := resolved(node.func)):
                    continue
                unpacked = any(isinstance(x, ast.Starred) for x in node.args)
                positional = [] if unpacked else [None] * len(node.args)
                try:
                    inspect.signature(called).bind_partial(*positional, **{k.arg: None for k in node.keywords if k.arg})
                except TypeError as error:
                    faults.append((name, ast.unparse(node), str(error)))
    assert not faults, "\n".join(map(str, faults))


def methods(cls):
    """The public methods and properties of this package's that a class has."""
    for name in dir(cls):
        attribute = inspect.getattr_static(cls, name)
        is_one = isinstance(attribute, (property, classmethod, staticmethod)) or inspect.isfunction(attribute)
        function = attribute.fget if isinstance(attribute, property) else getattr(cls, name)
        if is_one and not name.startswith("_") and function.__module__.startswith("jaxinertia"):
            yield name, function


def test_methods_say_what_they_do_with_what_they_take():
    """All have a docstring; of what users read, with every parameter, and the errors raised."""
    faults = []
    for name, member in PUBLIC.items():
        for method, function in methods(member) if inspect.isclass(member) else ():
            doc = inspect.getdoc(getattr(member, method)) or ""
            silent = [x for x in parameters(function) if is_result(member) and not re.search(rf"\b{x}\b", doc)]
            if len(doc) < 3 or silent:
                faults.append((f"{name}.{method}", silent))
            if (
                is_result(member)
                and "Raises" not in parsed(doc)[1]
                and "raise ValueError" in inspect.getsource(function)
            ):
                faults.append((f"{name}.{method}", "Raises"))
    assert not faults, "\n".join(map(str, faults))
