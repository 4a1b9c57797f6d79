"""A filter as a range and a test: the same keys as in the contract's words, for all code points."""

from hypothesis import given
from hypothesis import strategies as st

from lamina_server.domain.selection import KeyFilter, Selection, successor

edges = st.sampled_from(["a", "b", "\x7f", "\u00e9", "\ud7ff", "\ue000", "\uffff", "\U00010000", "\U0010ffff"])
texts = st.text(edges, max_size=4)
filters = st.builds(
    KeyFilter,
    keys=st.lists(texts, max_size=3).map(tuple),
    prefixes=st.lists(texts, max_size=3).map(tuple),
)


@given(prefix=texts, text=texts)
def test_a_prefix_is_a_range(prefix: str, text: str) -> None:
    beyond = successor(prefix)
    assert text.startswith(prefix) == (prefix <= text and (beyond is None or text < beyond))
    if beyond is not None:
        assert beyond.encode() > prefix.encode()


@given(wanted=filters, key=texts, after=texts)
def test_it_matches_the_contract_and_all_matches_lie_in_the_range(wanted: KeyFilter, key: str, after: str) -> None:
    selection = Selection.of(wanted)
    assert selection.matches(key) == wanted.matches(key)
    keys = selection.after(after)
    above = key >= keys.low if keys.inclusive else key > keys.low
    inside = above and (keys.high is None or key < keys.high)
    assert inside or not (wanted.matches(key) and key > after)
    assert not (inside and key <= after)
