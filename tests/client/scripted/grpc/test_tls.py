"""TLS files are checked by Python's own parser when they are given, before anything is sent."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

import lamina
from lamina import aio
from lamina._grpc.tls import _system_roots

CA = trustme.CA()
OURS, THEIRS = CA.issue_cert("client@example.com"), CA.issue_cert("other@example.com")
CERT, KEY = b"".join(blob.bytes() for blob in OURS.cert_chain_pems), OURS.private_key_pem.bytes()
ENCRYPTED = serialization.load_pem_private_key(KEY, None).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
)
DAMAGED = CA.cert_pem.bytes()[:200] + CA.cert_pem.bytes()[260:]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"ca": b""}, r"TLS\(ca=\) holds no certificate in PEM, so nobody would be trusted"),
        ({"ca": b"nonsense"}, r"TLS\(ca=\) holds no certificate"),
        ({"ca": KEY}, r"TLS\(ca=\) holds no certificate"),
        ({"ca": DAMAGED}, r"TLS\(ca=\) holds a certificate that is damaged"),
        ({"cert": b"nonsense", "key": KEY}, r"TLS\(cert=\) and TLS\(key=\) are no certificate and key in PEM"),
        ({"cert": CERT, "key": b""}, r"TLS\(cert=\) and TLS\(key=\) are no certificate and key in PEM"),
        ({"cert": KEY, "key": CERT}, r"are no certificate and key in PEM"),
        ({"cert": CERT, "key": THEIRS.private_key_pem.bytes()}, "the key is another certificate's"),
        ({"cert": CERT, "key": ENCRYPTED}, "the key is encrypted, and gRPC asks for no password"),
        ({"cert": CERT}, "together"),
    ],
)
def test_a_bad_certificate_or_key_is_refused(files: dict[str, bytes], said: str, tmp_path: Path) -> None:
    with pytest.raises(lamina.InvalidError, match=said):
        lamina.TLS(**files)
    paths = {name: tmp_path / f"{name}.pem" for name in files}
    for name, content in files.items():
        paths[name].write_bytes(content)
    with pytest.raises(lamina.InvalidError) as refused:
        lamina.TLS(**paths)
    assert "together" in said or all(str(path) in str(refused.value) for path in paths.values())


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(lamina.InvalidError, match=r"cannot read the TLS file .*missing\.pem: No such file"):
        lamina.TLS(ca=tmp_path / "missing.pem")
    with pytest.raises(lamina.InvalidError, match=r"cannot read the TLS file .*: Is a directory"):
        lamina.TLS(ca=tmp_path)
    nobody: Any = 3
    with pytest.raises(TypeError, match=r"TLS\(ca=\) takes a file's path or PEM as bytes, not int"):
        lamina.TLS(ca=nobody)


@pytest.mark.parametrize("connect", [lamina.connect, aio.connect])
@pytest.mark.parametrize("tls", ["ca.pem", b"pem", 1, {}])
def test_tls_must_be_a_bool_or_a_tls_object(connect: Any, tls: Any) -> None:
    with pytest.raises(TypeError, match=rf"tls= is True, False or lamina.TLS\(.*\), not {type(tls).__name__}"):
        connect(tls=tls)


def test_good_certificates_are_accepted(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes("# Zürich\n".encode() + CA.cert_pem.bytes() + b"\n# and\n" + trustme.CA().cert_pem.bytes())
    lamina.TLS(ca=bundle, cert=CERT, key=KEY).credentials()
    roots = _system_roots()
    assert roots is None or roots.startswith(b"-----BEGIN CERTIFICATE-----")


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    """As in `lamina.TLS(ca="/dev/fd/63")` of a shell's `<(...)`: a pipe gives its content only once."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(CA.cert_pem.bytes(),))
    writer.start()
    tls = lamina.TLS(ca=pipe)
    writer.join()
    tls.credentials()


def test_a_file_that_is_being_replaced_is_a_temporary_error(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(CA.cert_pem.bytes())
    tls = lamina.TLS(ca=file)
    file.write_bytes(b"")
    with pytest.raises(lamina.UnavailableError, match="holds no certificate"):
        tls.credentials()
