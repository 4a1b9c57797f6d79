"""An identity provider's device flow over real HTTP, as a test wants it to answer; and no more of a provider."""

import json
import threading
from collections import Counter, deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl

JWT = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.{}"
"""What looks like a JWT: no client looks into it."""


class DeviceProvider:
    """`with DeviceProvider() as provider:` has it at `provider.url`.

    answers    what the token endpoint answers next: the code of an error, a status, or fields; else new tokens
    discovery  changes the discovery document
    lifetime   of each token, in seconds
    calls      how often each path was asked
    forms      what was sent to each path, the last one last
    """

    def __init__(self) -> None:
        self.answers: deque[str | int | dict[str, Any]] = deque()
        self.discovery: dict[str, Any] = {}
        self.device: dict[str, Any] = {}
        self.lifetime = 300.0
        self.make_token: Callable[[int], str] = lambda number: JWT.format(f"token{number}")
        self.calls: Counter[str] = Counter()
        self.forms: list[tuple[str, dict[str, str]]] = []
        self._made = 0
        self._lock = threading.Lock()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._send(*provider.get(self.path))

            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["content-length"])).decode()
                self._send(*provider.post(self.path, dict(parse_qsl(data))))

            def _send(self, status: int, content: Any) -> None:
                body = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                if status == 302:
                    self.send_header("location", f"{provider.url}/elsewhere")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: Any) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def get(self, path: str) -> tuple[int, Any]:
        self.calls[path] += 1
        if path != "/.well-known/openid-configuration":
            return 404, b"<html>"
        found = {
            "issuer": self.url,
            "token_endpoint": f"{self.url}/token",
            "device_authorization_endpoint": f"{self.url}/device",
            "scopes_supported": ["openid", "offline_access"],
        }
        return 200, {name: value for name, value in (found | self.discovery).items() if value is not None}

    def post(self, path: str, form: dict[str, str]) -> tuple[int, Any]:
        with self._lock:
            self.calls[path] += 1
            self.forms.append((path, form))
            if path == "/device":
                found = {
                    "device_code": "device-code",
                    "user_code": "ABCD-EFGH",
                    "verification_uri": f"{self.url}/activate",
                    "expires_in": 60,
                    "interval": 0.01,
                }
                return (400, self.device) if "error" in self.device else (200, found | self.device)
            answer = self.answers.popleft() if self.answers else {}
            if isinstance(answer, str):
                return 400, {"error": answer, "error_description": "as the test wanted"}
            if isinstance(answer, int):
                return answer, b"<html>"
            self._made += 1
            tokens = {"access_token": self.make_token(self._made), "refresh_token": f"refresh{self._made}"}
            return 200, {**tokens, "token_type": "Bearer", "expires_in": self.lifetime, **answer}
