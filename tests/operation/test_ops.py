"""What holds for all files in `server/ops`."""

import re

from tests.operation.deployed import KNOWN, OPS, README


def test_each_variable_is_a_setting() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in OPS.rglob("*") if path.is_file()}
    named = {(path.name, name) for path, text in texts.items() for name in re.findall(r"LAMINA_SERVER_[A-Z_]+", text)}
    assert {path for path, _ in named} >= {"postgresql.yaml", "sqlite.yaml", "compose.yaml", "lamina-server.service"}
    assert [(path, name) for path, name in named if name not in KNOWN] == []


def test_the_page_leads_to_each_file_and_each_link_leads_somewhere() -> None:
    linked = {link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link} - {""}
    assert [link for link in linked if not (OPS / link).exists()] == []
    files = {str(path.relative_to(OPS)) for path in OPS.rglob("*.*") if path.parent != OPS and path.is_file()}
    assert files - linked == set()
