"""TLS and mutual TLS, with certificates made on the spot."""

import asyncio
import shutil
import subprocess

import grpc
import pytest

from neurips16.clients import TLS, AsyncClient, Client, Retry
from neurips16.clients.protocol.errors import InvalidInputError, ServerUnavailableError, TLSRefusedError

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificates with openssl")
ONCE = Retry(attempts=1)


def _openssl(*arguments, cwd):
    subprocess.run(["openssl", *arguments], cwd=cwd, check=True, capture_output=True)


def _authority(folder, name):
    make = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    _openssl(*make.split(), "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem", cwd=folder)


def _signed(folder, name, authority, extension=""):
    make = "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    _openssl(*make.split(), "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr", cwd=folder)
    (folder / "extension").write_text(extension)
    sign = (
        f"x509 -req -days 2 -in {name}.csr -CA {authority}.pem -CAkey {authority}.key -CAcreateserial -out {name}.pem"
    )
    _openssl(*sign.split(), "-extfile", "extension", cwd=folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    _authority(folder, "authority")
    _authority(folder, "stranger")
    _signed(folder, "server", "authority", "subjectAltName=DNS:localhost,DNS:models.example")
    _signed(folder, "user", "authority")
    _signed(folder, "intruder", "stranger")
    return folder


@pytest.fixture
def tls_url(folder, start_server):
    """A server that shows its certificate and asks for none."""
    pair = ((folder / "server.key").read_bytes(), (folder / "server.pem").read_bytes())
    return start_server(grpc.ssl_server_credentials([pair])).url


@pytest.fixture
def mutual_url(folder, start_server):
    """A server that wants the client's certificate, too."""
    pair = ((folder / "server.key").read_bytes(), (folder / "server.pem").read_bytes())
    authority = (folder / "authority.pem").read_bytes()
    return start_server(grpc.ssl_server_credentials([pair], authority, require_client_auth=True)).url


def test_tls(folder, tls_url):
    with Client(f"grpcs://{tls_url}", tls=TLS(ca=folder / "authority.pem")) as client:
        assert client.server_ready()


def test_tls_from_the_environment(folder, tls_url, monkeypatch):
    monkeypatch.setenv("NEURIPS16_TLS_CA", str(folder / "authority.pem"))
    with Client(tls_url) as client:
        assert client.server_ready()


def test_async_tls(folder, tls_url):
    async def ask():
        async with AsyncClient(tls_url, tls=TLS(ca=folder / "authority.pem")) as client:
            return await client.server_ready()

    assert asyncio.run(ask())


@pytest.mark.parametrize(("tls", "why"), [(TLS(), "an authority of this system"), (None, "say grpcs://")])
def test_a_server_of_an_unknown_authority_is_refused(tls, why, folder, tls_url):
    with Client(tls_url, tls=tls, retry=ONCE) as client, pytest.raises(TLSRefusedError, match=why):
        client.server_ready()


def test_a_server_without_tls_is_told_from_one_that_refuses_us(start_server):
    url = f"grpcs://{start_server().url}"
    with Client(url, retry=ONCE) as client, pytest.raises(TLSRefusedError, match="the server has none, say grpc://"):
        client.server_ready()


def test_where_nobody_listens_tls_is_not_to_blame(folder):
    for tls in (TLS(ca=folder / "authority.pem"), None):
        with Client("localhost:1", tls=tls, retry=ONCE) as client, pytest.raises(ServerUnavailableError) as caught:
            client.require_server_ready()
        assert type(caught.value) is ServerUnavailableError


def test_a_server_that_says_unavailable_in_plain_text_is_not_taken_for_one_with_tls(server):
    server.faults.unavailable = 1
    with Client(server.url, retry=ONCE) as client, pytest.raises(ServerUnavailableError, match="not now") as caught:
        client.require_server_ready()
    assert type(caught.value) is ServerUnavailableError


def test_a_server_of_another_authority_is_refused(folder, tls_url):
    with (
        Client(tls_url, tls=TLS(ca=folder / "stranger.pem"), retry=ONCE) as client,
        pytest.raises(TLSRefusedError, match=r"certificate is refused .* signed by .*stranger\.pem"),
    ):
        client.server_ready()


def test_the_name_in_the_certificate_counts(folder, tls_url):
    ca = folder / "authority.pem"
    with Client(tls_url, tls=TLS(ca=ca, server_name="models.example"), retry=ONCE) as client:
        assert client.server_ready()
    with (
        Client(tls_url, tls=TLS(ca=ca, server_name="other.example"), retry=ONCE) as client,
        pytest.raises(TLSRefusedError, match=r"'other\.example'"),
    ):
        client.server_ready()


def test_mutual_tls(folder, mutual_url):
    def tls(name):
        pair = (folder / f"{name}.pem", folder / f"{name}.key") if name else (None, None)
        return TLS(folder / "authority.pem", *pair)

    with Client(mutual_url, tls=tls("user"), retry=ONCE) as client:
        assert client.server_ready()
    for refused, why in ((tls("intruder"), r"our certificate .*intruder\.pem"), (tls(None), "we show none")):
        with Client(mutual_url, tls=refused, retry=ONCE) as client, pytest.raises(TLSRefusedError, match=why):
            client.server_ready()


def test_files_that_are_no_certificates(folder, tls_url):
    (folder / "text.pem").write_text("hello")
    with pytest.raises(InvalidInputError, match=r"ca=.*text\.pem"):
        Client(tls_url, tls=TLS(ca=folder / "text.pem"))
    with pytest.raises(InvalidInputError, match="KEY_VALUES_MISMATCH"):
        Client(tls_url, tls=TLS(certificate=folder / "user.pem", key=folder / "server.key"))
