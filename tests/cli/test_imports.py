"""The command line stands on the SDK's public names alone, as anybody's program would."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import lamina
import lamina.cli

PUBLIC = {"lamina", "lamina.bundle"}
SOURCES = sorted(Path(lamina.cli.__file__).parent.glob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            yield node.module or ""


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_it_imports_public_names_alone(source: Path) -> None:
    tree = ast.parse(source.read_text(encoding="utf-8"))
    for module in imported(tree):
        assert module.split(".")[0] not in {"grpc", "google", "lamina_protos", "lamina_server"}
        assert module in PUBLIC or not module.startswith("lamina.") or module.split(".")[1] == "cli", module
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "lamina"
    }
    assert used <= set(lamina.__all__)
