"""An identity provider for tests: it signs tokens, and publishes its keys over HTTP, well or badly.

with Provider() as provider:
provider.issuer("corp")                    # the value of `issuers/corp` of _lamina/access
provider.token(sub="ada")                  # a token that is valid
provider.rotate()                          # another key signs, and takes the old one's place in the JWKS
"""

import json
import ssl
import threading
import time
from collections.abc import Callable
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import jwt
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

AUDIENCE = "lamina"
RSA_KEYS = 4

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
Answer = Callable[[BaseHTTPRequestHandler], None]


@cache
def rsa_key(number: int, bits: int = 2_048) -> rsa.RSAPrivateKey:
    """Return one of a few keys: making one takes a tenth of a second."""
    return rsa.generate_private_key(65_537, bits)


def jwk(key: PrivateKey, key_id: str | None, **fields: Any) -> dict[str, Any]:
    """Return the public half of a key as a JWKS has it."""
    public = key.public_key()
    text = RSAAlgorithm.to_jwk(public) if isinstance(public, rsa.RSAPublicKey) else ECAlgorithm.to_jwk(public)
    found: dict[str, Any] = json.loads(text)
    found.pop("key_ops", None)
    return {**found, **({} if key_id is None else {"kid": key_id}), **fields}


def public_pem(key: PrivateKey) -> bytes:
    """Return the public half of a key, which anybody may know."""
    encoding, kind = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(encoding, kind)


def document(*keys: dict[str, Any]) -> bytes:
    """Return a JWKS."""
    return json.dumps({"keys": keys}).encode()


class Provider:
    """One provider, with one key that signs at a time.

    key, key_id  what signs now
    answer       answers the requests for the JWKS; None: with the document
    document     the JWKS
    requests     how often the JWKS was asked for
    asked        set at each request
    """

    def __init__(self, port: int = 0) -> None:
        self.key: PrivateKey = rsa_key(0)
        self.key_id = "key-0"
        self.algorithm = "RS256"
        self.document = document(jwk(self.key, self.key_id))
        self.answer: Answer | None = None
        self.requests = 0
        self.asked = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign] # a client that hangs up is a test's
        self.port = int(self._server.server_port)
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def secure(self, certificate: trustme.LeafCert) -> None:
        """Speak TLS to those who connect from now on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)

    def issuer(self, **fields: Any) -> dict[str, Any]:
        """Return the value of an issuer's key of `_lamina/access`."""
        own = {"url": self.url, "audience": AUDIENCE, "algorithm": self.algorithm, "jwks": f"{self.url}/keys"}
        return {**own, **fields}

    def rotate(self, key_id: str = "key-1", *, keep: bool = False) -> None:
        """Sign with another key from now on, and publish it: instead of the old one, or beside it."""
        old = json.loads(self.document)["keys"] if keep else []
        self.key, self.key_id = rsa_key(int(key_id[-1])), key_id
        self.document = document(*old, jwk(self.key, key_id))

    def claims(self, **claims: Any) -> dict[str, Any]:
        """Return the claims of a token that is valid for a minute; None leaves one out."""
        now = int(time.time())
        found = {"iss": self.url, "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": now + 60, **claims}
        return {name: value for name, value in found.items() if value is not None}

    def token(self, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """Return a token that the provider has signed."""
        headers = {"kid": self.key_id, **(headers or {})}
        return jwt.encode(self.claims(**claims), self.key, self.algorithm, headers)

    def _handler(provider) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler below has its own self
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.requests += 1
                provider.asked.set()
                if provider.answer is not None:
                    provider.answer(self)
                else:
                    reply(self, provider.document)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        return Handler


def reply(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    """Answer a request."""
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)
