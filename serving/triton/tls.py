"""TLS of a server: the files that it is given, looked into before it starts, and our own way in.

Triton reads the files when it starts, and says nothing useful of those that it cannot use: they are checked here. Our
own calls (readiness, model control) go through the same port as everybody's. They trust the server's certificate
itself, whoever issued it, and where clients must show one, we show a certificate that is made for one start, whose key
never leaves this process.
"""

from __future__ import annotations

import datetime
import ssl
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from neurips16.serving.errors import SecurityError

TRUSTED_FILE = "client-ca.pem"  # the authority of the clients, and our own certificate
OWN_NAME = "neurips16 serve"
OWN_LIFE = datetime.timedelta(days=3650)  # longer than any server runs; it ends with the process that has the key


@dataclass(frozen=True)
class ServerTLS:
    """Files in PEM form.

    Attributes:
        certificate: the server's, followed by those of intermediate authorities.
        key: its private key, unencrypted.
        client_ca: the authorities of the clients' certificates; with it every client must show one (mutual TLS).
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def check(self) -> None:
        """Refuse what could not be served with.

        Raises:
            SecurityError: a file cannot be read, is no PEM of its kind, the key is another's, or the certificate is
                not valid now.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        paths = [path for path in (self.certificate, self.key, self.client_ca) if path is not None]
        given = ", ".join(map(str, paths))
        for path in paths:
            try:
                path.open("rb").close()
            except OSError as error:
                raise SecurityError(f"the TLS file {path} cannot be read: {error.strerror}") from error
        try:
            context.load_cert_chain(self.certificate, self.key, password="")  # nosec B106: Triton takes no encrypted key
            if self.client_ca is not None:
                context.load_verify_locations(cafile=self.client_ca)
        except ssl.SSLError as error:
            raise SecurityError(
                f"the TLS files {given} are not a certificate, its own unencrypted key and an authority in PEM form: "
                f"{error.reason or error}"
            ) from error
        now, leaf = datetime.datetime.now(datetime.timezone.utc), self.leaf
        if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
            raise SecurityError(
                f"the certificate {self.certificate} is valid from {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} to "
                f"{leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, and now it is {now:%Y-%m-%d %H:%M}: no client would "
                "take it, renew it"
            )

    @cached_property
    def leaf(self) -> x509.Certificate:
        """The server's own certificate."""
        return x509.load_pem_x509_certificates(self.certificate.read_bytes())[0]

    @property
    def server_name(self) -> str:
        """A name that the certificate is for.

        Raises:
            SecurityError: it has none.
        """
        try:
            names = self.leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            names = x509.SubjectAlternativeName([])
        found = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
        if not found:
            raise SecurityError(
                f"the certificate {self.certificate} names no host (subjectAltName with a DNS name or an IP address): "
                "no client would take it, make one that does"
            )
        return found[0].replace("*", "any", 1)  # of a wildcard, a name that it stands for


class ControlAccess:
    """How our own calls pass the TLS of one start of the server.

    Args:
        tls: the server's files; they are read now.

    Raises:
        SecurityError: see `ServerTLS.check`.
    """

    def __init__(self, tls: ServerTLS):
        tls.check()
        self._tls = tls
        self._own: bytes | None = None
        self.server_name = tls.server_name
        trusted = tls.leaf.public_bytes(serialization.Encoding.PEM)
        if tls.client_ca is None:
            self.credentials = grpc.ssl_channel_credentials(trusted)
        else:
            key, self._own = _self_signed()
            self.credentials = grpc.ssl_channel_credentials(trusted, key, self._own)

    def arguments(self, folder: Path) -> list[str]:
        """The options of `tritonserver`; what it is to trust is written into ``folder``."""
        files = [f"--grpc-server-cert={self._tls.certificate}", f"--grpc-server-key={self._tls.key}"]
        if self._tls.client_ca is None or self._own is None:
            return ["--grpc-use-ssl=true", *files]
        trusted = folder / TRUSTED_FILE
        trusted.write_bytes(self._tls.client_ca.read_bytes().rstrip() + b"\n" + self._own)
        return ["--grpc-use-ssl-mutual=true", *files, f"--grpc-root-cert={trusted}"]


def _self_signed() -> tuple[bytes, bytes]:
    """A fresh key, and a certificate for it that can sign no other, in PEM form."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, OWN_NAME)])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + OWN_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, certificate.public_bytes(serialization.Encoding.PEM)
