from datetime import UTC, datetime

import pytest
import trustme

from lamina_server.access import certificates
from lamina_server.access.authentication import Authentication
from lamina_server.access.issuers import Issuers
from lamina_server.access.live import LiveAccess
from lamina_server.domain.errors import Reason, ServerError
from lamina_server.domain.planning import Author
from tests.security.people import issue

AUTHORITY = trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.mark.parametrize(
    ("names", "principal"),
    [
        (["uri:spiffe://corp/shop"], "cert:spiffe://corp/shop"),
        (["dns:shop.corp.example"], "cert:shop.corp.example"),
        (["dns:Shop.Corp.example", "dns:shop.corp.EXAMPLE"], "cert:shop.corp.example"),
        (["dns:one.example", "uri:spiffe://corp/Shop", "dns:two.example"], "cert:spiffe://corp/Shop"),
        (["email:ada@corp.example", "dns:shop.corp.example"], "cert:shop.corp.example"),
        ([f"uri:spiffe://{'a' * 186}"], f"cert:spiffe://{'a' * 186}"),
    ],
)
def test_a_certificate_is_known_by_the_uri_of_its_san_or_else_by_its_dns_name(names: list[str], principal: str) -> None:
    caller = certificates.caller(issue(AUTHORITY, *names, common_name="admin")[0])
    assert (caller.principal, caller.author) == (principal, Author(principal, verified=True))
    assert caller.groups == frozenset()


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([], "names nobody"),
        (["email:ada@corp.example"], "names nobody"),
        (["uri:spiffe://corp/a", "uri:spiffe://corp/b"], "has 2 URIs"),
        (["dns:a.example", "dns:b.example", "dns:c.example"], "has 3 DNS names, and no URI"),
        (["dns:admin.corp.example\0.other.example"], "not valid"),
        (["uri:spiffe://corp/admin\0"], "not valid"),
        (["uri:spiffe://corp/a b"], "not valid"),
        (["dns:a\n"], "not valid"),
        ([f"uri:spiffe://{'a' * 187}"], "not valid"),
        (["uri:"], "not valid"),
    ],
)
def test_a_certificate_that_does_not_name_exactly_one_caller_is_refused(names: list[str], says: str) -> None:
    with pytest.raises(ServerError, match=says) as caught:
        certificates.caller(issue(AUTHORITY, *names, common_name="spiffe://corp/admin")[0])
    assert caught.value.reason is Reason.BAD_CREDENTIALS
    assert "corp" not in str(caught.value)


def test_what_is_no_certificate_is_refused() -> None:
    with pytest.raises(ServerError, match="cannot be read"):
        certificates.caller(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


async def test_a_certificate_ends_an_hour_after_its_time() -> None:
    """A TLS session is resumed with a certificate that has expired: nobody looks at it again."""
    ends = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
    certificate, _ = issue(AUTHORITY, "dns:shop.example", ends=ends)
    now = ends.timestamp() + 3_599
    access = LiveAccess(is_open=False)
    issuers = Issuers(access, now_us=lambda: 0)
    authentication = Authentication(access, issuers, now_us=lambda: int(now * 1_000_000), by_certificate=True)
    caller = await authentication.caller((), certificate)
    assert (caller.principal, caller.expires_us) == ("cert:shop.example", int((now + 1) * 1_000_000))
    now += 1
    with pytest.raises(ServerError, match="has expired: connect again"):
        await authentication.caller((), certificate)


def test_a_certificate_without_an_end() -> None:
    """RFC 5280 has a time for it, the last second of the year 9999."""
    certificate, _ = issue(AUTHORITY, "dns:shop.example", ends=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    assert certificates.caller(certificate).expires_us == 253_402_300_799_000_000 + 3_600_000_000
