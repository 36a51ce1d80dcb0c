"""Small changes of a module's text, each of which some test should notice: what can be changed, and what is left alone.

Left alone are texts that nobody acts on: log lines, docstrings, annotations, `__repr__`, the bodies of protocols, and
what runs for type checkers only. A condition of an SQL statement can be dropped as an `if` can.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Final

_COMPARISONS: Final[dict[type[ast.cmpop], tuple[str, str]]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
_OPERATORS: Final[dict[type[ast.operator], tuple[str, str]]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "//"),
    ast.FloorDiv: ("//", "*"),
    ast.Div: ("/", "*"),
    ast.Mod: ("%", "*"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
    ast.BitXor: ("^", "&"),
}
_LOGS: Final = frozenset({"log", "_log", "logging", "warnings"})
_SILENT_METHODS: Final = frozenset({"__repr__", "__del__"})
_MARKERS_OF_TYPES: Final = frozenset({"TypeVar", "NewType", "ParamSpec", "cast", "overload", "TypeAlias"})
_SQL: Final = re.compile(r"\bWHERE\b")
_CONDITION: Final = re.compile(
    r"\s+AND\s+(?:\((?:[^()]|\([^()]*\))*\)|(?!\bAND\b|\bORDER\b|\bLIMIT\b|\bGROUP\b|\bRETURNING\b)[^()\"'\n{}]"
    r"|'[^'\n]*'|\([^()]*\))+?(?=\s+AND\b|\s+ORDER\b|\s+LIMIT\b|\s+GROUP\b|\s+RETURNING\b|\s*\)|\s*[\"\n])"
)
"""A condition of a WHERE that is not its first."""


@dataclass(frozen=True, order=True)
class Mutant:
    """One change: bytes of the module's text, and what stands there instead."""

    line: int
    start: int
    end: int
    replacement: str
    function: str
    """The qualified name of what it is in; nothing at the top of the module."""
    change: str
    """For people, and for the list of equivalent ones."""

    def apply(self, source: bytes) -> bytes:
        """The module's text with the change."""
        return source[: self.start] + self.replacement.encode() + source[self.end :]


def mutants_of(source: bytes) -> list[Mutant]:
    """Every change of a module, in the order of its text. Each leaves a module that can be compiled."""
    found = _Finder(source).find()
    return [mutant for mutant in sorted(set(found)) if _compiles(mutant.apply(source))]


def _compiles(source: bytes) -> bool:
    try:
        compile(source, "mutant", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


class _Finder(ast.NodeVisitor):
    """Goes through the tree of a module, and passes over what is left alone."""

    def __init__(self, source: bytes) -> None:
        self._source = source
        self._line_starts = [0]
        for line in source.splitlines(keepends=True):
            self._line_starts.append(self._line_starts[-1] + len(line))
        self._found: list[Mutant] = []
        self._names: list[str] = []
        self._may_be_none = False
        """Whether None means something else than False does to whoever calls the function."""

    def find(self) -> list[Mutant]:
        self.visit(ast.parse(self._source))
        return self._found

    # -- what is left alone --

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        if not any(_name_of(base) == "Protocol" for base in node.bases):
            self._inside(node.name, node.body)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        is_overload = any(_name_of(each) == "overload" for each in node.decorator_list)
        if node.name not in _SILENT_METHODS and not is_overload:
            for default in (*node.args.defaults, *node.args.kw_defaults):
                if default is not None:
                    self.visit(default)
            before, self._may_be_none = (
                self._may_be_none,
                node.returns is not None and "None" in self._text(node.returns),
            )
            self._inside(node.name, node.body)
            self._may_be_none = before

    def _inside(self, name: str, body: list[ast.stmt]) -> None:
        self._names.append(name)
        for statement in body:
            self.visit(statement)
        self._names.pop()

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None and _name_of(node.annotation) not in _MARKERS_OF_TYPES:
            self.visit(node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        if not any(isinstance(each, ast.Name) and each.id.startswith("__") for each in node.targets):
            self.visit(node.value)

    # -- statements --

    def visit_Expr(self, node: ast.Expr) -> None:
        """A call whose answer nobody takes; a docstring and `...` are nothing."""
        if isinstance(node.value, ast.Call) and _root_of(node.value.func) not in _LOGS:
            self._replace(node, "pass")
            self.visit(node.value)
        elif not isinstance(node.value, (ast.Constant, ast.Call)):
            self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self._replace(node, "pass")

    def visit_Continue(self, node: ast.Continue) -> None:
        self._replace(node, "break")

    def visit_Break(self, node: ast.Break) -> None:
        self._replace(node, "continue")

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None:
            is_untrue = isinstance(node.value, ast.Constant) and not node.value.value
            if not is_untrue or (self._may_be_none and getattr(node.value, "value", None) is not None):
                self._replace(node.value, "None")
            self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        old, new = _OPERATORS.get(type(node.op), ("", ""))
        if old:
            self._replace_between(node.target, node.value, f"{old}=", f"{new}=")
        self.visit(node.value)

    # -- conditions --

    def visit_If(self, node: ast.If) -> None:
        if _name_of(node.test) != "TYPE_CHECKING":
            self._negate(node.test)
            self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        if not isinstance(node.test, ast.Constant):
            self._negate(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._negate(node.test)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self._negate(test)
        self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> None:
        """It says what is so anyway."""

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            self._replace_between(left, right, old, new)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self._replace(node, self._text(node.operand))
        self.generic_visit(node)

    # -- values --

    def visit_Compare(self, node: ast.Compare) -> None:
        for left, operator, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
            self._replace_between(left, right, *_COMPARISONS[type(operator)])
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if type(node.op) in _OPERATORS and not any(_is_text(side) for side in (node.left, node.right)):
            self._replace_between(node.left, node.right, *_OPERATORS[type(node.op)])
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = _name_of(node.func)
        if _root_of(node.func) in _LOGS or name in _MARKERS_OF_TYPES - {"cast"}:
            return
        if isinstance(node.func, ast.Name) and name == "cast":
            self.visit(node.args[1])  # and not the type
            return
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """Of what looks like a type, `list[int]`, nothing; of a value, its index."""
        if not (isinstance(node.value, ast.Name) and node.value.id[:1].isupper() and "_" not in node.value.id):
            self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self._replace(node, str(not value))
        elif isinstance(value, int):
            self._replace(node, str(value + 1))
        elif isinstance(value, float):
            self._replace(node, str(value * 2 or 1.0))
        elif isinstance(value, str) and _SQL.search(self._text(node)):
            self._drop_conditions(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Python 3.11 gives the parts of a text no places of their own: only conditions of SQL are looked for."""
        if _SQL.search(self._text(node)):
            self._drop_conditions(node)

    def _drop_conditions(self, node: ast.expr) -> None:
        text, (start, _) = self._text(node), self._span(node)
        for found in _CONDITION.finditer(text):
            at = start + len(text[: found.start()].encode())
            self._add(at, at + len(found.group().encode()), "", node, f"{' '.join(found.group().split())} -> (nothing)")

    # -- places --

    def _negate(self, test: ast.expr) -> None:
        if not isinstance(test, ast.UnaryOp):
            self._replace(test, f"not ({self._text(test)})")

    def _replace(self, node: ast.expr | ast.stmt, replacement: str) -> None:
        start, end = self._span(node)
        shown = f"{_shortened(self._text(node))} -> {_shortened(replacement)}"
        if isinstance(node, ast.Constant):
            line = self._between(self._line_starts[node.lineno - 1], self._line_starts[node.lineno])
            shown += f" in {_shortened(line)}"
        self._add(start, end, replacement, node, shown)

    def _replace_between(self, left: ast.expr, right: ast.expr, old: str, new: str) -> None:
        """Replace an operator, which stands between its operands, beside brackets perhaps."""
        start, end = self._span(left)[1], self._span(right)[0]
        pattern = r"\s+".join(map(re.escape, old.split()))
        found = re.search(
            rf"(?<![\w]){pattern}(?![\w])" if old[0].isalpha() else re.escape(old), self._between(start, end)
        )
        if found is not None:
            shown = f"{_shortened(self._text(left))} {old} {_shortened(self._text(right))} -> {new}"
            at = start + len(self._between(start, end)[: found.start()].encode())
            self._add(at, at + len(found.group().encode()), new, right, shown)

    def _add(self, start: int, end: int, replacement: str, node: ast.expr | ast.stmt, change: str) -> None:
        self._found.append(Mutant(node.lineno, start, end, replacement, ".".join(self._names), change))

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return (
            self._line_starts[node.lineno - 1] + node.col_offset,
            self._line_starts[node.end_lineno - 1] + node.end_col_offset,
        )

    def _text(self, node: ast.expr | ast.stmt) -> str:
        return self._between(*self._span(node))

    def _between(self, start: int, end: int) -> str:
        return self._source[start:end].decode()


def _shortened(text: str, limit: int = 60) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[:limit]}…"


def _name_of(node: ast.expr) -> str:
    """The last name of a dotted one, brackets left out: `Protocol` of `typing.Protocol[T]`."""
    if isinstance(node, ast.Subscript):
        return _name_of(node.value)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _root_of(node: ast.expr) -> str:
    """The first name of a dotted one."""
    while isinstance(node, (ast.Attribute, ast.Call)):
        node = node.value if isinstance(node, ast.Attribute) else node.func
    return node.id if isinstance(node, ast.Name) else ""


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)))
