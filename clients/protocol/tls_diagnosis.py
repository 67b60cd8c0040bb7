"""Why TLS with a server fails. gRPC says UNAVAILABLE for all of it; a handshake of our own says which.

It is made only after a call has failed for good, and decides nothing but the error's class and text.
"""

from __future__ import annotations

import socket
import ssl

from neurips16.clients.protocol.connection import TLS, Connection
from neurips16.clients.protocol.errors import ServerUnavailableError, TLSRefusedError

LIMIT_S = 2.0


def explain_unavailable(error: ServerUnavailableError, connection: Connection) -> ServerUnavailableError:
    """``error``, or the one that says what of TLS it was that failed."""
    reason = _of_plain_text(connection) if connection.tls is None else _of_tls(connection, connection.tls)
    if reason is None:
        return error
    explained = TLSRefusedError(f"no connection to {connection.url}: {reason}", code=error.code, model=error.model)
    explained.__cause__ = error
    return explained


def _of_tls(connection: Connection, tls: TLS) -> str | None:
    context = ssl.create_default_context(cafile=tls.ca)
    if tls.certificate is not None:
        context.load_cert_chain(tls.certificate, tls.key)
    certificate_problem = "the server wants a certificate of ours, and we show none"
    if tls.certificate is not None:
        certificate_problem = (
            f"the server refuses our certificate {tls.certificate} (has it expired, or another authority?)"
        )
    name = tls.server_name or _host(connection)
    try:
        spoke = _shake_hands(connection, context, name)
    except ssl.SSLCertVerificationError as failure:
        return (
            f"the server's certificate is refused ({failure.verify_message}); expected one for {name!r}, signed by "
            f"{tls.ca or 'an authority of this system'}"
        )
    except ssl.SSLError as failure:
        # The other side's alert, or no TLS at all: OpenSSL's own name of it says which.
        alert = _is_alert(failure)
        return (
            f"TLS ended with {failure.reason}: {certificate_problem if alert else 'the server has none, say grpc://'}"
        )
    except OSError:
        return None
    return None if spoke else f"the server ends the connection after the handshake: {certificate_problem}"


def _of_plain_text(connection: Connection) -> str | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent: only whether it has TLS
    try:
        _shake_hands(connection, context, _host(connection))
    except ssl.SSLError as failure:
        if not _is_alert(failure):  # no answer in TLS: this is not what has failed
            return None
    except OSError:
        return None
    return f"the server wants TLS: say grpcs://{connection.url}, or give tls="


def _shake_hands(connection: Connection, context: ssl.SSLContext, name: str) -> bool:
    """Do as a client of gRPC does at first; False when the server ends the connection without an alert.

    In TLS 1.3 the server judges our certificate after the handshake; where it accepts it, its first HTTP/2
    frame does.
    """
    context.set_alpn_protocols(["h2"])
    address = (_host(connection), connection.address.port)
    with (
        socket.create_connection(address, timeout=LIMIT_S) as plain,
        context.wrap_socket(plain, server_hostname=name) as wrapped,
    ):
        return bool(wrapped.recv(1))


def _is_alert(failure: ssl.SSLError) -> bool:
    """Whether the other side said it, by OpenSSL's name of the error, as TLSV1_ALERT_UNKNOWN_CA."""
    return "_ALERT_" in (failure.reason or "")


def _host(connection: Connection) -> str:
    return connection.address.host.strip("[]")
