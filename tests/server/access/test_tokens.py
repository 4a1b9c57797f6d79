import hashlib
import re

import pytest

from lamina_server.access import tokens
from lamina_server.domain.access import Access, Token
from lamina_server.domain.errors import Reason, ServerError

# Always the same one: it is in the names of tests, which are the same in all processes.
ID, SECRET = "k3v9q2x7m4d1", "YM9mPEiVnoZL36G8jREavmmoq91Bh0kF3mBp0oEeozs"
TEXT = f"lamina_{ID}_{SECRET}"
SHA256 = hashlib.sha256(SECRET.encode()).digest()
ACCESS = Access(tokens={ID: Token(ID, "deployer", SHA256, expires_us=1_000)})


def refused(text: str, now_us: int = 0) -> str:
    with pytest.raises(ServerError) as caught:
        tokens.find(text, ACCESS, now_us)
    assert caught.value.reason is Reason.BAD_CREDENTIALS
    return str(caught.value)


def test_a_token_has_256_random_bits_and_its_hash_is_all_that_is_kept() -> None:
    made = [tokens.make() for _ in range(100)]
    assert len({text for _, text, _ in made}) == 100
    for token_id, text, sha256 in made:
        found = re.fullmatch(r"lamina_([a-z0-9]{12})_([A-Za-z0-9_-]{43})", text)
        assert found
        assert (found[1], hashlib.sha256(found[2].encode()).digest()) == (token_id, sha256)


def test_a_token_counts_until_its_end() -> None:
    assert tokens.find(TEXT, ACCESS, 999).name == "deployer"
    assert "'deployer' has expired" in refused(TEXT, 1_000)


@pytest.mark.parametrize(
    "text",
    [
        f"lamina_{ID}_{'A' if SECRET[0] != 'A' else 'B'}{SECRET[1:]}",
        f"lamina_{ID}_{SECRET[:-1]}{'A' if SECRET[-1] != 'A' else 'B'}",
        f"lamina_{ID}_{'A' * 43}",
        f"lamina_abcdefabcdef_{SECRET}",
        f"lamina_{ID}_{SECRET}A",
    ],
)
def test_an_unknown_id_and_a_wrong_secret_get_the_same_answer(text: str) -> None:
    assert refused(text) == "the token is not valid: it is unknown, or was revoked; ask an admin for another one"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "lamina_",
        f"lamina_{ID}",
        f"lamina_{ID}_",
        f"lamina_{ID}_{SECRET[:-1]}",
        f"lamina_{ID}_{SECRET}\n",
        f'"{TEXT}"',
        f" {TEXT}",
        TEXT.upper(),
        TEXT.removeprefix("lamina_"),
        f"lamina__{SECRET}",
        f"lamina_{ID}_{SECRET}é",
        f"lamina_{ID}_{'A' * 129}",
        f"lamina_{ID}_{SECRET} {SECRET}",
        "\udcff" * 60,
    ],
)
def test_a_malformed_token_is_told_so_and_not_repeated(text: str) -> None:
    says = refused(text)
    assert says.startswith("the token is malformed")
    assert not any(part in says for part in (SECRET[:6], ID[:6]))
