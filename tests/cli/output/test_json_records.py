"""The JSON of records."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from lamina.cli.output.json_records import document, documents, shapes


@dataclass(frozen=True)
class Record:
    text: str
    keys: list[str] = field(default_factory=list)


@given(st.dictionaries(st.text(), st.sampled_from([Record("a\nb"), Record("\x1b", ["x", "y"])])))
def test_many_keys_with_few_records_are_one_document(records: dict[str, Record]) -> None:
    assert "".join(documents(records)) == document(shapes(records))
