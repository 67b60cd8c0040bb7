"""Where a server listens: its ports, and the addresses that lead to it."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Mapping

from neurips16.serving.errors import PortTakenError


def claim_ports(host: str, ports: Mapping[str, int | None]) -> dict[str, int | None]:
    """The ports to give the server, by service: a free one for 0, else the one named when nobody listens there.

    Raises:
        PortTakenError: somebody does, or the address is not one of this machine's.
    """
    claimed: dict[str, int | None] = {}
    with contextlib.ExitStack() as stack:  # all are held until all are found, so that none is given twice
        for service, port in ports.items():
            if port is None:
                claimed[service] = None
                continue
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((host, port))
            except OSError as error:
                raise PortTakenError(
                    f"port {port} on {host} cannot be had for {service} ({error.strerror or error}): "
                    f"end what listens there, or choose another with --{service.lower()}-port"
                ) from error
            claimed[service] = listener.getsockname()[1]
    return claimed


def reachable_host(host: str) -> str:
    """An address under which a client on this machine reaches a server that listens on ``host``."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "::1" if address.version == 6 else "127.0.0.1"
    return host


def accepts(host: str, port: int) -> bool:
    """Whether something listens there."""
    try:
        socket.create_connection((reachable_host(host), port), timeout=1.0).close()
    except OSError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach what listens on ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
