"""The address, the author and the channel of a client."""

import getpass
from typing import Any
from urllib.parse import unquote

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

import lamina
from lamina._grpc.connection import Address, Connection, connection, quote_author
from lamina._grpc.pool import STREAMS_LIMIT, Pool

CA = trustme.CA()


def connect_with(target: str | None = None, **options: Any) -> Connection:
    return connection(target, **{"token": None, "tls": None, "timeout": 10.0, "author": None, **options})


@pytest.mark.parametrize(
    ("text", "target", "local"),
    [
        ("localhost:7440", "dns:///localhost:7440", True),
        ("LOCALHOST", "dns:///LOCALHOST:7440", True),
        ("127.0.0.1:1", "dns:///127.0.0.1:1", True),
        ("127.8.9.1", "dns:///127.8.9.1:7440", True),
        ("[::1]:7441", "dns:///[::1]:7441", True),
        ("::1", "dns:///[::1]:7440", True),
        ("[2001:db8::1]", "dns:///[2001:db8::1]:7440", False),
        ("config.example:65535", "dns:///config.example:65535", False),
        ("10.0.0.1", "dns:///10.0.0.1:7440", False),
        ("unix:/run/lamina.sock", "unix:/run/lamina.sock", True),
    ],
)
def test_an_address_is_completed(text: str, target: str, *, local: bool) -> None:
    (address,) = connect_with(text).addresses
    assert (address.target, address.local) == (target, local)
    assert (address.tls is None) == local
    assert ("grpc.enable_http_proxy", 0) in address.options or not local


@pytest.mark.parametrize(
    ("value", "proxy"),
    [
        ("http://ann:secret@proxy:3128/", "proxy:3128 of grpc_proxy"),
        ("", None),
        ("proxy:3128", None),
        ("https://proxy:3128", None),
        ("http://[::1", None),
    ],
)
def test_the_proxy_of_the_environment_is_named(value: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first variable that is set counts, even if gRPC cannot use its value."""
    monkeypatch.setenv("grpc_proxy", value)
    monkeypatch.setenv("http_proxy", "http://another:1")
    monkeypatch.delenv("no_grpc_proxy", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    (address,) = connect_with("far.example").addresses
    assert address.peer.proxy == proxy
    assert (address.named is None) == (proxy is not None)


def test_a_target_may_have_several_addresses() -> None:
    assert [address.target for address in connect_with("a:1, localhost ,unix:x").addresses] == [
        "dns:///a:1",
        "dns:///localhost:7440",
        "unix:x",
    ]


@pytest.mark.parametrize("text", ["", "a:0", "a:65536", "a:b", ":1", "a:1,", "http://a:1", "a:-1", "[::1", "a:1:"])
def test_a_bad_address_is_refused(text: str) -> None:
    with pytest.raises(lamina.InvalidError):
        connection(text, token=None, tls=None, timeout=1.0, author=None)


def test_the_target_comes_from_the_argument_the_environment_or_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAMINA_TARGET", raising=False)
    assert connect_with().target == "localhost:7440"
    monkeypatch.setenv("LAMINA_TARGET", "there:1")
    assert connect_with().target == "there:1"
    assert connect_with("here:2").target == "here:2"
    monkeypatch.setenv("LAMINA_TARGET", "")
    assert connect_with().target == "localhost:7440"


def test_connect_sends_nothing() -> None:
    assert repr(lamina.connect("nowhere.example:1")) == "<Client 'nowhere.example:1'>"


def test_tls_can_be_chosen() -> None:
    own = lamina.TLS(ca=CA.cert_pem.bytes())
    assert connect_with("far.example", tls=False).addresses[0].tls is None
    assert connect_with("localhost", tls=True).addresses[0].tls == lamina.TLS()
    assert connect_with("localhost", tls=own).addresses[0].tls is own
    assert "BEGIN" not in repr(own)


def test_a_bad_timeout_is_refused() -> None:
    for bad in (0, -1, float("nan"), float("inf"), 1e10):
        with pytest.raises(lamina.InvalidError, match="timeout"):
            connect_with(timeout=bad)


class TestMetadata:
    def test_the_system_s_user_is_the_author(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(getpass, "getuser", lambda: "Zoë")
        assert connect_with().metadata == (("lamina-author", "Zo%C3%AB"),)

    def test_without_a_system_s_user_there_is_no_author(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def nobody() -> str:
            raise KeyError("uid not found")

        monkeypatch.setattr(getpass, "getuser", nobody)
        assert connect_with().metadata == ()

    def test_an_authenticated_client_sends_no_author_unless_it_is_given(self) -> None:
        assert connect_with(token="t0k").metadata == (("authorization", "Bearer t0k"),)
        own = CA.issue_cert("ann@example.com")
        cert, key = own.cert_chain_pems[0].bytes(), own.private_key_pem.bytes()
        assert connect_with(tls=lamina.TLS(cert=cert, key=key)).metadata == ()
        assert connect_with(token="t0k", author="ann").metadata[1:] == (("lamina-author", "ann"),)

    def test_the_token_is_in_no_repr(self) -> None:
        assert "t0k" not in repr(connect_with(token="t0k"))

    @pytest.mark.parametrize("token", ["", "a\nb", "tökén"])
    def test_a_bad_token_is_refused(self, token: str) -> None:
        with pytest.raises(lamina.InvalidError, match="token"):
            connect_with(token=token)

    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def test_an_author_is_quoted_and_unquoted_without_loss(self, author: str) -> None:
        quoted = quote_author(author)
        assert quoted.isascii()
        assert quoted.isprintable()
        assert unquote(quoted) == author.strip()

    def test_a_plain_author_is_sent_as_it_is(self) -> None:
        assert quote_author("Ann O'Neil <ann@example.com>") == "Ann O'Neil <ann@example.com>"
        assert quote_author("50%") == "50%25"


class FakeChannel:
    def __init__(self, address: Address) -> None:
        self.address = address


class TestPool:
    def make(self, target: str = "a,b", owner: Any = lambda: (1, None)) -> Pool[Any]:
        made: Any = Pool
        pool: Pool[Any] = made(connect_with(target).addresses, FakeChannel, owner)
        return pool

    def test_unary_calls_share_one_channel_and_streams_use_another(self) -> None:
        pool = self.make()
        link = pool.unary()
        assert pool.unary() is link
        assert pool.reserve().channel is not link.channel

    def test_a_connection_carries_a_limited_number_of_streams(self) -> None:
        pool = self.make()
        links = [pool.reserve() for _ in range(STREAMS_LIMIT + 1)]
        assert len({id(link) for link in links}) == 2
        assert pool.release(links[0]) is None
        assert pool.reserve() is links[0]
        assert pool.release(links[-1]) is links[-1].channel  # its last stream

    def test_the_next_use_releases_an_abandoned_stream(self) -> None:
        pool = self.make()
        links = [pool.reserve() for _ in range(STREAMS_LIMIT + 1)]
        with pool._lock:  # garbage is collected anywhere, in the middle of the pool's own work, too
            pool.abandon(links[0])
            pool.abandon(links[-1])
        again = pool.reserve()
        assert again is links[0]
        assert again.streams == STREAMS_LIMIT
        assert links[-1] not in pool._streams

    def test_a_failure_changes_to_the_next_address_once(self) -> None:
        pool = self.make()
        first, stream = pool.unary(), pool.reserve()
        pool.failed(first)
        pool.failed(stream)  # of the same address: no news
        second = pool.unary()
        assert second.address.target == "dns:///b:7440"
        assert pool.reserve().address is second.address
        pool.failed(second)
        assert pool.unary().address is first.address

    def test_after_a_fork_channels_are_new(self) -> None:
        process = [1]
        pool = self.make(owner=lambda: (process[0], None))
        parent, stream = pool.unary(), pool.reserve()
        process[0] = 2
        child = pool.unary()
        assert child is not parent
        assert pool.reserve() is not stream
        assert parent in pool._inherited
        assert pool.release(stream) is None

    def test_a_closed_client_says_so(self) -> None:
        pool = self.make()
        link, stream = pool.unary(), pool.reserve()
        assert pool.close() == [stream.channel, link.channel]
        for use in (pool.unary, pool.reserve):
            with pytest.raises(lamina.InvalidError, match="closed"):
                use()
        assert pool.release(stream) is None
        pool.failed(link)
        assert pool.close() == []
