"""_core.pyi says what the compiled module has: the same names, and as many arguments."""

import ast
import re
import unittest
from pathlib import Path

import kvengine
from kvengine import _core

STUB = Path(kvengine.__file__).with_name("_core.pyi")


def public(names):
    return {name for name in names if not name.startswith("_")}


def declared(body):
    """Names that a module's or a class's body declares, and their nodes."""
    nodes = {}
    for node in body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            nodes[node.name] = node
        elif isinstance(node, ast.AnnAssign):
            nodes[node.target.id] = node
    return nodes


def is_property(node):
    return isinstance(node, ast.AnnAssign) or any(
        isinstance(d, ast.Name) and d.id == "property" for d in getattr(node, "decorator_list", []))


def n_arguments(function):
    """Of a compiled function: its docstring opens with the signature."""
    inside = re.match(r"\w+\((.*)\) ->", function.__doc__).group(1)
    return len(re.findall(r"\w+: ", inside))


class Stub(unittest.TestCase):
    def setUp(self):
        self.stub = declared(ast.parse(STUB.read_text(encoding="utf-8")).body)

    def test_names_of_the_module(self):
        self.assertEqual(public(self.stub), public(vars(_core)))

    def test_names_and_kinds_of_the_classes(self):
        for name in ("Cache", "Model"):
            members, stub = vars(getattr(_core, name)), declared(self.stub[name].body)
            self.assertEqual(public(stub), public(members))
            for member in public(stub):
                with self.subTest(f"{name}.{member}"):
                    self.assertEqual(is_property(stub[member]), isinstance(members[member], property))

    def test_numbers_of_arguments(self):
        functions = [(f"Model.{n}", getattr(_core.Model, n), node)
                     for n, node in declared(self.stub["Model"].body).items() if not is_property(node)]
        functions += [(n, getattr(_core, n), node) for n, node in self.stub.items()
                      if isinstance(node, ast.FunctionDef)]
        for name, function, node in functions:
            with self.subTest(name):
                self.assertEqual(n_arguments(function), len(node.args.args))


if __name__ == "__main__":
    unittest.main()
