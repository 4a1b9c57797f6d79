"""Build the image, and run it as an orchestrator would: `make image-test`.

Prints a line for each thing that holds, and ends with 1 at the first that does not.
"""

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import trustme

import lamina
from tests.image.building import Image, build, mounted
from tests.image.container import Container
from tests.support.postgres import Postgres

LIMIT_BYTES = 150 * 1024 * 1024
UID = 10_001


def main() -> None:
    """Build and check."""
    image = build()
    print(f"built; {image.own_bytes / 1024 / 1024:.0f} MiB beyond its base")
    holds(image.own_bytes <= LIMIT_BYTES, "it has at most 150 MiB beyond its base")
    holds(image.user == f"{UID}:{UID}", "its user is a number, and not root's")
    holds(image.volumes == ["/data"], "its data is in a volume")
    with mounted(image.name) as root:
        on_sqlite(image, root)
        on_postgresql(image, root)
        with_tls(image, root)


def on_sqlite(image: Image, root: Path) -> None:
    """As the Dockerfile's first lines say: closed, with the token of an admin in the volume."""
    with volume() as data:
        listen = {"LAMINA_SERVER_LISTEN": f"0.0.0.0:{free_port()}"}
        command = ("serve", "--insecure-plaintext")
        with Container(image, root, *command, volumes={"/data": data}, environment=listen) as server:
            status = Path(f"/proc/{server.server_pid}/status").read_text(encoding="ascii")
            holds(f"Uid:\t{UID}\t{UID}\t{UID}\t{UID}" in status, "the server runs without root")
            holds("NSpid:" in status and status.split("NSpid:")[1].split("\n")[0].split()[-1] == "1", "as process 1")
            refused = server.shell("echo x > /app/x; echo x > /tmp/x; echo x > /x")
            holds(refused.stdout.count("Read-only file system") == 3, "its root is read-only")
            probe = server.execute("health")
            holds((probe.returncode, probe.stdout) == (0, "ready\n"), "its probe says that it is ready")
            token = (data / "lamina.db.admin-token").read_text(encoding="ascii").strip()
            with lamina.connect(local(server), token=token, tls=False) as client:
                config = client.config("shop/prod", create=True)
                config["x"] = 28
                holds(config.commit().number == 1, "it takes a commit")
            holds(server.stop() == 0, "SIGTERM ends it, with the exit code 0")
            holds(server.execute("health").returncode == 1, "then its probe says that it is not ready")
        with Container(image, root, *command, volumes={"/data": data}, environment=listen) as server:
            with lamina.connect(local(server), token=token, tls=False) as client:
                holds(client.config("shop/prod")["x"] == 28, "another container of the same volume has the data")
            verified = server.execute("verify")
            holds(verified.returncode == 0, "`verify` finds it intact beside the server")


def on_postgresql(image: Image, root: Path) -> None:
    """Keep nothing in the volume but the token."""
    with volume() as data, Postgres.start(in_memory=True) as cluster:
        url = cluster.new_database()
        socket_folder = Path(parse_qs(urlsplit(url).query)["host"][0])
        socket_folder.chmod(0o755)  # the container's user is another than the database's
        environment = {
            "LAMINA_SERVER_LISTEN": f"0.0.0.0:{free_port()}",
            "LAMINA_SERVER_DATABASE": url.replace(str(socket_folder), "/tmp"),
        }
        command = ("serve", "--insecure-plaintext", "--workers", "2")
        volumes = {"/data": data, "/tmp": socket_folder}
        with Container(image, root, *command, volumes=volumes, environment=environment) as server:
            token = (data / "lamina.admin-token").read_text(encoding="ascii").strip()
            with lamina.connect(local(server), token=token, tls=False) as client:
                config = client.config("shop/prod", create=True)
                config["x"] = 28
                holds(config.commit().number == 1, "two workers on PostgreSQL take a commit")
            holds(server.execute("health").returncode == 0, "and are ready")
            holds(server.stop() == 0, "SIGTERM ends them, with the exit code 0")


def with_tls(image: Image, root: Path) -> None:
    """Mount the files from another volume, which the server cannot write."""
    with volume() as data, volume() as files:
        authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        own = authority.issue_cert("localhost", key_type=trustme.KeyType.ECDSA)
        own.cert_chain_pems[0].write_to_path(files / "cert.pem")
        own.private_key_pem.write_to_path(files / "key.pem")
        for path in files.iterdir():
            path.chmod(0o644)
        environment = {
            "LAMINA_SERVER_LISTEN": f"0.0.0.0:{free_port()}",
            "LAMINA_SERVER_TLS_CERT": "/mnt/cert.pem",
            "LAMINA_SERVER_TLS_KEY": "/mnt/key.pem",
        }
        volumes = {"/data": data, "/mnt:ro": files}
        with Container(image, root, volumes=volumes, environment=environment) as server:
            holds(server.execute("health").returncode == 0, "its probe asks through TLS")
            token = (data / "lamina.db.admin-token").read_text(encoding="ascii").strip()
            tls = lamina.TLS(ca=authority.cert_pem.bytes())
            with lamina.connect(local(server), token=token, tls=tls) as client:
                holds(client.config("new", create=True).version == 0, "a client reaches it through TLS")


def local(server: Container) -> str:
    """Return where this machine reaches a server that listens everywhere."""
    return f"localhost:{server.target.rpartition(':')[2]}"


def free_port() -> int:
    """Return a port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def volume() -> Iterator[Path]:
    """Make a folder that belongs to the image's user."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        os.chown(folder, UID, UID)
        yield folder


def holds(condition: object, what: str) -> None:
    """Print what holds, or end."""
    if not condition:
        raise SystemExit(f"NOT: {what}")
    print(f"ok: {what}", flush=True)


if __name__ == "__main__":
    main()
