"""Where a server listens: its ports, and the addresses that lead to it."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Mapping

from neurips16.serving.errors import PortTakenError, SecurityError


def claim_ports(hosts: Mapping[str, str], ports: Mapping[str, int | None]) -> dict[str, int | None]:
    """The ports to give the server, by service: a free one for 0, else the one named when nobody listens there.

    Args:
        hosts: the address that each service listens on.
        ports: the port that is asked for; None for a service that is left out.

    Raises:
        PortTakenError: somebody does, or the address is not one of this machine's.
    """
    claimed: dict[str, int | None] = {}
    with contextlib.ExitStack() as stack:  # all are held until all are found, so that none is given twice
        for service, port in ports.items():
            if port is None:
                claimed[service] = None
                continue
            host = hosts[service]
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


def settle_hosts(
    host: str,
    ports: Mapping[str, int | None],
    *,
    http_host: str | None,
    metrics_host: str | None,
    tls: bool,
    insecure_plaintext: bool,
) -> tuple[dict[str, str], dict[str, int | None]]:
    """Where each service listens, so that nothing is open to others that was not asked for.

    Triton's HTTP and metrics have no TLS. Beyond loopback they are left out unless they were given an address of their
    own. The metrics tell the names of models and how much they are used, nothing of requests: their own address is
    enough. HTTP carries requests, answers and the admin token, as gRPC does.

    Args:
        host: of gRPC, and of the others where they have none of their own.
        ports: what is asked for, by service; None leaves a service out.
        http_host: of HTTP, None when not given.
        metrics_host: of the metrics, None when not given.
        tls: whether gRPC has it.
        insecure_plaintext: whether requests and answers may be read and changed on their way.

    Returns:
        The hosts and the ports, by service.

    Raises:
        SecurityError: requests would pass in plain text where others can read them.
    """
    hosts = {"gRPC": host, "HTTP": http_host or host, "metrics": metrics_host or host}
    own = {"gRPC": host, "HTTP": http_host, "metrics": metrics_host}
    settled = {
        service: port if own[service] is not None or is_loopback(host) else None for service, port in ports.items()
    }
    remedies = {"gRPC": "give --tls-cert and --tls-key", "HTTP": "leave --http-host out (Triton's HTTP has no TLS)"}
    for service, remedy in remedies.items():
        covered = insecure_plaintext or (tls and service == "gRPC")
        if settled[service] is not None and not is_loopback(hosts[service]) and not covered:
            raise SecurityError(
                f"others reach {hosts[service]}, and {service} would be in plain text there: {remedy}, or say "
                "--insecure-plaintext where everybody on the way may read and change requests, answers and the admin "
                "token"
            )
    return hosts, settled


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach what listens on ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
