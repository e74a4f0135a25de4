"""What is changed in a chat template's syntax tree before it is compiled: charges are added, imports refused.

A block is charged each time it runs, so that no loop or recursion is free; a comparison, slice or concatenation is
charged by its operands, for Jinja2's sandbox intercepts calls and arithmetic only.
"""

from typing import Any

from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.visitor import NodeTransformer

from .template_budget import CHARACTERS_A_UNIT

REFUSED: Any = (
    nodes.Include,
    nodes.Import,
    nodes.FromImport,
    nodes.Extends,
    nodes.Block,
    nodes.EvalContextModifier,
)
# Blocks inside a statement that run any number of times; each is charged when it runs.
BRANCHES: dict[type[nodes.Node], tuple[str, ...]] = {
    nodes.For: ("body", "else_"),
    nodes.If: ("body", "else_"),
    nodes.Macro: ("body",),
    nodes.CallBlock: ("body",),
}
# Filters that the added nodes call. In a template no name has a space, but `map` calls a filter by any name.
CHARGE, EACH, OPERAND, CONCAT = "a charge", "each element", "an operand", "a concatenation"


class GenerationTags(Extension):
    """{% generation %} marks the assistant's turns for training libraries; it changes no text."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        parser.stream.skip(1)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def refuse_imports(tree: nodes.Template) -> None:
    """SecurityError for statements that load other templates or change how this one is compiled."""
    if refused := tree.find(REFUSED):
        raise SecurityError(f"{type(refused).__name__} in line {refused.lineno} has no place in a chat template")


class AddCharges(NodeTransformer):
    """Adds charges to the blocks, comparisons, slices and concatenations of a syntax tree."""

    def visit_Template(self, node: nodes.Template) -> nodes.Template:
        self.generic_visit(node)
        node.body = _with_charge(node.body)
        return node

    def visit_For(self, node: nodes.For) -> nodes.For:
        self.visit_If(node)
        node.body = node.body or _with_charge([])
        if node.test is not None:
            node.iter = _filtered(node.iter, EACH, nodes.Const(1 + _static_size(node.test)))
        return node

    def visit_If(self, node: Any) -> Any:
        self.generic_visit(node)
        for name in BRANCHES[type(node)]:
            if branch := getattr(node, name):
                setattr(node, name, _with_charge(branch))
        return node

    visit_Macro = visit_CallBlock = visit_If

    def visit_Compare(self, node: nodes.Compare) -> nodes.Compare:
        self.generic_visit(node)
        holders: list[Any] = [node, *node.ops]
        for holder in holders:
            if not isinstance(holder.expr, nodes.Const):
                holder.expr = _filtered(holder.expr, OPERAND)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Expr:
        self.generic_visit(node)
        return _filtered(node, OPERAND) if isinstance(node.arg, nodes.Slice) else node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), CONCAT)


def _with_charge(block: list[nodes.Node]) -> list[nodes.Node]:
    units = nodes.Const(sum(map(_static_size, block)))
    return [nodes.Output([_filtered(units, CHARGE)], lineno=block[0].lineno if block else 1), *block]


def _static_size(node: nodes.Node) -> int:
    """Units for a statement's nodes and text, without the blocks inside it that are charged on their own."""
    text = len(node.data) // CHARACTERS_A_UNIT if isinstance(node, nodes.TemplateData) else 0
    return 1 + text + sum(_static_size(child) for child in node.iter_child_nodes(exclude=BRANCHES.get(type(node))))


def _filtered(node: Any, name: str, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, list(args), [], None, None, lineno=node.lineno)
