"""The command line imports only public names of the SDK, as a user's program would."""

import ast
from collections.abc import Iterator
from pathlib import Path

import lamina
import lamina.cli

PUBLIC = {"lamina", "lamina.bundle", "lamina.login"}
SOURCES = sorted(Path(lamina.cli.__file__).parent.rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            yield node.module or ""


def is_allowed(module: str) -> bool:
    top, _, rest = module.partition(".")
    if top == "lamina":
        return module in PUBLIC or rest == "cli" or rest.startswith("cli.")
    return top not in {"grpc", "google", "lamina_protos", "lamina_server"}


def used(tree: ast.AST) -> set[str]:
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "lamina"
    }


def test_the_command_line_imports_only_public_names() -> None:
    trees = {path.name: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}
    assert len(trees) > 20
    wrong = {name: module for name, tree in trees.items() for module in imported(tree) if not is_allowed(module)}
    assert not wrong
    private = {name: used(tree) - set(lamina.__all__) for name, tree in trees.items()}
    assert not {name: names for name, names in private.items() if names}
