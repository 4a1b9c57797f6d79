import doctest
import unicodedata
from collections.abc import Callable

import pytest

from lamina_server.domain import names
from lamina_server.domain.names import BadNameError

Check = Callable[[str], str]

GOOD: list[tuple[Check, str]] = [
    (names.check_config_name, "a"),
    (names.check_config_name, "payments/prod"),
    (names.check_config_name, "0.A_b-c/9"),
    (names.check_config_name, "a" * 255),
    (names.check_key, "x"),
    (names.check_key, " a key = of.any/kind "),
    (names.check_key, "größe"),
    (names.check_key, "\u00a0"),  # the first character after the last control character
    (names.check_key, "ß" * 256),
    (names.check_prefix, ""),
    (names.check_prefix, "db."),
    (names.check_request_id, "r" * 128),
    (names.check_author, "Ada Lovelace <ada@example.org>"),
    (names.check_message, ""),
    (names.check_message, "two\nlines\twith\x1bcontrols"),
    (names.check_message, "m" * 4096),
]

BAD: list[tuple[Check, str, str]] = [
    (names.check_config_name, "", "0 bytes"),
    (names.check_config_name, "a" * 256, "256 bytes, the limit is 255 bytes"),
    (names.check_config_name, "/a", "none of them empty"),
    (names.check_config_name, "a/", "none of them empty"),
    (names.check_config_name, "a//b", "none of them empty"),
    (names.check_config_name, ".a", "begin with a letter or digit"),
    (names.check_config_name, "a/..", "begin with a letter or digit"),
    (names.check_config_name, "a b", "nothing but these"),
    (names.check_config_name, "größe", "nothing but these"),
    (names.check_config_name, "a\n", "nothing but these"),
    (names.check_config_name, "\uff11", "begin with a letter or digit of ASCII"),
    (names.check_config_name, "a\ud800", "lone surrogate; there is one at position 1"),
    (names.check_key, "", "0 bytes"),
    (names.check_key, "k" * 513, "513 bytes, the limit is 512 bytes"),
    (names.check_key, "ß" * 257, "514 bytes, the limit is 512 bytes"),
    (names.check_key, "a\x00", "U+0000 is at position 1"),
    (names.check_key, "\x1f", "U+001F"),
    (names.check_key, "\x7f", "U+007F"),
    (names.check_key, "\x9f", "U+009F"),
    (names.check_key, "\ud800", "lone surrogate"),
    (names.check_key, unicodedata.normalize("NFD", "ö"), "normal form C"),
    (names.check_prefix, "\x00", "U+0000"),
    (names.check_prefix, "o\u0308", "normal form C"),
    (names.check_request_id, "", "0 bytes"),
    (names.check_request_id, "r" * 129, "129 bytes, the limit is 128 bytes"),
    (names.check_request_id, "a\nb", "U+000A is at position 1"),
    (names.check_author, "", "0 bytes"),
    (names.check_author, "a\r", "U+000D"),
    (names.check_author, "a" * 256, "256 bytes, the limit is 255 bytes"),
    (names.check_message, "m" * 4097, "4,097 bytes, the limit is 4,096 bytes"),
    (names.check_message, "a\x00", "U+0000; there is one at position 1"),
    (names.check_message, "\udfff", "lone surrogate"),
]


@pytest.mark.parametrize(("check", "text"), GOOD)
def test_a_valid_text_is_returned_unchanged(check: Check, text: str) -> None:
    assert check(text) == text


@pytest.mark.parametrize(("check", "text", "words"), BAD)
def test_an_invalid_text_is_refused_with_the_rule_that_it_breaks(check: Check, text: str, words: str) -> None:
    with pytest.raises(BadNameError) as caught:
        check(text)
    assert words in str(caught.value)


def test_every_unicode_control_character_is_refused() -> None:
    controls = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Cc"]
    assert len(controls) == 65
    for control in controls:
        with pytest.raises(BadNameError):
            names.check_key(f"a{control}b")


def test_a_caller_may_set_the_limit() -> None:
    with pytest.raises(BadNameError, match="4 bytes, the limit is 3 bytes"):
        names.check_key("four", limit_bytes=3)


def test_the_examples_in_docstrings_are_right() -> None:
    assert doctest.testmod(names).failed == 0
