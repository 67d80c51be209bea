"""Templates of prompts: Jinja in a sandbox, strict about names, done in bounded time and memory.

Templates are written by people, and imported from strangers. One can read the values that it is
given and nothing else; it has the statements, filters and methods that are listed here, and no
others; and all that it does costs of a budget, so that none loops or grows for ever. A value is
never read as a template, whatever stands in it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError, meta, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range
from jinja2.visitor import NodeTransformer

from workbench.core.errors import DataError, SpecError

MOST_CHARACTERS = 1_000_000  # of one text, on the way and in the end
_MOST_COST = 200_000  # of one rendering: a step costs 1, and each 100 characters 1
_CHARACTERS_A_COST = 100
# What templates are given beside their values; they can have no such names themselves.
_BUDGET, _READ, _JOINED, _STEP = "_budget", "_read", "_joined", "_step"

_NODES = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.For, nodes.If, nodes.Assign,
    nodes.CondExpr, nodes.Filter, nodes.Test, nodes.Name, nodes.Const, nodes.List, nodes.Tuple,
    nodes.Dict, nodes.Pair, nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.Compare, nodes.Operand,
    nodes.And, nodes.Or, nodes.Not, nodes.Add, nodes.Sub, nodes.Neg, nodes.Pos, nodes.Concat,
    nodes.Call, nodes.Keyword,
)  # fmt: skip
_SIGNS = {
    "Mul": "*", "Div": "/", "FloorDiv": "//", "Mod": "%", "Pow": "**",
    "AssignBlock": "{% endset %}: write {% set name = value %}",
}  # fmt: skip
_METHODS: dict[type, frozenset[str]] = {
    str: frozenset({
        "capitalize", "endswith", "lower", "lstrip", "rstrip", "split", "splitlines",
        "startswith", "strip", "title", "upper",
    }),
    dict: frozenset({"get", "items", "keys", "values"}),
}  # fmt: skip
_FILTERS = frozenset({
    "capitalize", "default", "d", "first", "float", "int", "last", "length", "count", "list",
    "lower", "max", "min", "reverse", "round", "sort", "title", "trim", "truncate", "unique",
    "upper", "wordcount",
})  # fmt: skip


class _Budget:
    """What one rendering may still cost."""

    def __init__(self) -> None:
        self.left = _MOST_COST

    def pay(self, value: Any = "") -> Any:
        """Pay for a step that made a value, and return the value.

        Raises:
            SecurityError: it is too long, or there is nothing left.
        """
        size = len(value) if isinstance(value, str | list | tuple | dict) else 0
        if size > MOST_CHARACTERS:
            raise SecurityError(f"it makes a text of more than {MOST_CHARACTERS:,} characters")
        self.left -= 1 + size // _CHARACTERS_A_COST
        if self.left < 0:
            raise SecurityError("it does too much: a loop is too long, or texts grow too large")
        return value

    def step(self) -> str:
        """Pay for one turn of a loop."""
        self.pay()
        return ""

    def joined(self, *values: Any) -> str:
        """Return values joined, as ``~`` does it."""
        return str(self.pay("".join(_plain(self.pay(value)) for value in values)))


def _plain(value: Any) -> str:
    """Return a text or number as text.

    Raises:
        SecurityError: it is a list or an object: how Python writes it is no text for a model.
    """
    if isinstance(value, StrictUndefined):
        str(value)  # raises, and names it
    if value is None or isinstance(value, str | int | float):
        return "" if value is None else str(value)
    raise SecurityError(f"it writes a {type(value).__name__}; use |join or |tojson")


@pass_context
def _join(context: Context, values: Iterable[Any], separator: str = "") -> str:
    budget: _Budget = context[_BUDGET]
    return str(budget.pay(separator.join(_plain(budget.pay(value)) for value in values)))


@pass_context
def _replace(context: Context, text: str, old: str, new: str) -> str:
    budget: _Budget = context[_BUDGET]
    if len(text) + text.count(old) * len(new) > MOST_CHARACTERS:
        raise SecurityError(f"it makes a text of more than {MOST_CHARACTERS:,} characters")
    return str(budget.pay(text.replace(old, new)))


@pass_context
def _to_json(context: Context, value: Any) -> str:
    budget: _Budget = context[_BUDGET]
    parts = json.JSONEncoder(ensure_ascii=False).iterencode(value)
    return str(budget.pay("".join(budget.pay(part) for part in parts)))


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+"})

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        self.globals = {"range": safe_range}
        self.finalize = _plain
        known = {name: self.filters[name] for name in _FILTERS}
        self.filters = {**known, "join": _join, "replace": _replace, "tojson": _to_json}

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        budget: _Budget = context[_BUDGET]
        budget.pay(left), budget.pay(right)
        return budget.pay(super().call_binop(context, operator, left, right))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if type(obj).__module__ == "jinja2.runtime":  # ``loop``
            return not attr.startswith("_") and attr != "cycle"
        return attr in _METHODS.get(type(obj), ())

    def is_safe_callable(self, obj: Any) -> bool:
        owner = type(getattr(obj, "__self__", None))
        is_method = getattr(obj, "__name__", "") in _METHODS.get(owner, ())
        return obj is safe_range or is_method or owner is _Budget

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        _refuse_others(tree, self.filters)
        made: nodes.Template = _Costs().visit(tree)
        made.set_environment(self)
        return made


def _refuse_others(tree: nodes.Template, filters: Collection[str]) -> None:
    for node in tree.find_all(nodes.Node):
        line = getattr(node, "lineno", 1)
        if not isinstance(node, _NODES):
            kind = type(node).__name__
            raise TemplateSyntaxError(f"prompts have no {_SIGNS.get(kind, kind.lower())}", line)
        if isinstance(node, nodes.For) and node.recursive:
            raise TemplateSyntaxError("prompts have no recursive loops", line)
        if isinstance(node, nodes.Name) and node.name.startswith("_"):
            raise TemplateSyntaxError(f"{node.name!r} begins with an underscore", line)
        if isinstance(node, nodes.Filter) and node.name not in filters:
            raise TemplateSyntaxError(f"prompts have no filter {node.name!r}", line)
        if isinstance(node, nodes.Assign) and not isinstance(node.target, nodes.Name):
            raise TemplateSyntaxError("set gives one name a value", line)


class _Costs(NodeTransformer):
    """Has whatever reads a value, joins texts or takes a turn in a loop pay for it."""

    def visit_For(self, node: nodes.For) -> nodes.For:
        self.generic_visit(node)
        step = _call(_STEP, [], node)
        node.body = [nodes.Output([step], lineno=node.lineno), *node.body]
        if node.test is not None:  # which is tried for each item, also for those without a turn
            paid = nodes.Compare(step, [nodes.Operand("eq", nodes.Const(""))], lineno=node.lineno)
            node.test = nodes.And(paid, node.test, lineno=node.lineno)
        return node

    def visit_Assign(self, node: nodes.Assign) -> nodes.Assign:
        # A text or a number: of lists, some would be made that hold each other again and again.
        node.node = _call(_JOINED, [self.visit(node.node)], node)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Call:
        self.generic_visit(node)
        return _call(_JOINED, node.nodes, node)

    def visit_Name(self, node: nodes.Name) -> nodes.Expr:
        return _call(_READ, [node], node) if node.ctx == "load" else node

    def visit_Getattr(self, node: nodes.Getattr) -> nodes.Call:
        self.generic_visit(node)
        return _call(_READ, [node], node)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Call:
        self.generic_visit(node)
        return _call(_READ, [node], node)


def _call(name: str, values: list[nodes.Expr], place: nodes.Node) -> nodes.Call:
    line = place.lineno
    return nodes.Call(nodes.Name(name, "load", lineno=line), values, [], None, None, lineno=line)


@cache
def _sandbox() -> _Sandbox:
    return _Sandbox()


class Template:
    """One text with places for values, ready to be filled in."""

    def __init__(self, source: str) -> None:
        """Read a template.

        Raises:
            SpecError: it is no Jinja, or uses what templates of prompts have not; names the line.
        """
        self.source = source
        try:
            self._compiled = _compile(source)
            self.variables = _variables(source)
        except TemplateSyntaxError as error:
            raise SpecError(
                f"The template cannot be read: {error.message}",
                where=f"line {error.lineno} of the template",
                next_step="Write {{ text }} where the text shall stand; {% if %}, {% for %} and "
                "{% set %} are there, and filters such as |trim, |lower, |join(', ').",
            ) from error

    def fill(self, values: Mapping[str, Any]) -> str:
        """Return the text with values in their places.

        Raises:
            DataError: a variable has no value, or the template does something that it may not, or
                too much.
        """
        budget = _Budget()
        own = {
            _BUDGET: budget, _READ: budget.pay, _JOINED: budget.joined, _STEP: budget.step,
        }  # fmt: skip
        try:
            return "".join(budget.pay(part) for part in self._compiled.generate({**values, **own}))
        except UndefinedError as error:
            raise DataError(f"The template names something that is not there: {error.message}",
                            where="template",
                            next_step="Have a column of that name, or test for it: "
                            "{% if title is defined %}.") from error  # fmt: skip
        except (SecurityError, TypeError, ValueError, OverflowError, ArithmeticError) as error:
            raise DataError(f"The template cannot be filled in: {error}", where="template",
                            next_step="Mend the template.") from error  # fmt: skip


@cache
def _compile(source: str) -> Any:
    return _sandbox().from_string(source)


@cache
def _variables(source: str) -> frozenset[str]:
    """Return the names whose values a template needs, those that it only tests for included."""
    found = meta.find_undeclared_variables(_sandbox().parse(source))
    return frozenset(name for name in found if not name.startswith("_") and name != "range")
