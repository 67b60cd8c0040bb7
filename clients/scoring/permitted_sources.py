"""What a value of a table may open: files of the table's own folder, and what the user names besides.

A table may come from anybody, and is scored with the rights and keys of who runs the job. So a value is a name below
the folder that the user named, or below a prefix of ``--allow-paths``; a link or ``..`` leads nowhere else, a web
address is none of a private network, and no file is larger than asked for.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import socket
import ssl
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from neurips16.clients.protocol.errors import InvalidInputError

MAX_FILE_BYTES = 256 << 20
TIMEOUT_S = 60.0  # of each step over the network
WHOLE_S = 600.0  # for a whole file
MAX_REDIRECTS = 5
_WEB = {"http": 80, "https": 443}
_BLOCK = 1 << 20
# As 6to4 and Teredo, these hold an IPv4 address, which may be private; the last is a site's own, whatever Python says.
_INNER = [
    ipaddress.IPv6Network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96", "::/96", "fec0::/10")
]
_RELAYS = ipaddress.IPv4Network("192.88.99.0/24")  # of 6to4: withdrawn, so whoever answers there is nobody's
_MOVED = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class PermittedSources:
    """The folders and URLs whose files may be opened."""

    base: str  # what names are relative to: a folder, or a URL of one
    prefixes: tuple[str, ...] = ()  # besides
    max_bytes: int = MAX_FILE_BYTES

    def __post_init__(self) -> None:
        if self.max_bytes < 1:
            raise InvalidInputError(f"a file may have at least 1 byte, got {self.max_bytes}")
        for prefix in self.prefixes:
            if "://" in prefix and not urlsplit(prefix).netloc:
                raise InvalidInputError(f"--allow-paths is a folder or a URL with a host or bucket, got {prefix!r}")

    def open(self, value: str) -> Path | bytes:
        """A local file, or the bytes of one elsewhere.

        Raises:
            InvalidInputError: it may not be opened, is not there, is no regular file, or is too large.
        """
        if _is_url(value) or (_is_url(self.base) and not os.path.isabs(value)):
            return self._fetched(value)
        return self._local(value)

    def _local(self, value: str) -> Path:
        folder = self.base or "/"
        try:
            path = Path(os.path.realpath(os.path.join(folder, value)))
            roots = [os.path.realpath(root) for root in (folder, *self.prefixes) if not _is_url(root)]
            facts = os.stat(path) if any(path.is_relative_to(root) for root in roots) else None
        except FileNotFoundError as error:
            raise InvalidInputError(f"{value!r} does not exist in {folder}") from error
        except (OSError, ValueError) as error:  # ValueError: a zero byte
            raise InvalidInputError(f"{value!r} cannot be opened: {getattr(error, 'strerror', error)}") from error
        if facts is None:
            raise self._refused(value)
        if not stat.S_ISREG(facts.st_mode):
            raise InvalidInputError(f"{value!r} is no regular file")
        if facts.st_size > self.max_bytes:
            raise self._too_large(value)
        return path

    def _fetched(self, value: str) -> bytes:
        url = value if _is_url(value) else f"{self.base.rstrip('/')}/{value}"
        self._check_url(url, value)
        try:
            if urlsplit(url).scheme.lower() in _WEB:
                return self._from_the_web(url, value)
            return self._from_storage(url, value)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if isinstance(error, InvalidInputError):
                raise
            reason = str(error).strip().split("\n")[0] or type(error).__name__
            raise InvalidInputError(f"{url} cannot be read: {reason}") from error

    def _check_url(self, url: str, value: str) -> None:
        roots = [root for root in (self.base, *self.prefixes) if _is_url(root)]
        if not any(_is_below(url, root) for root in roots):
            raise self._refused(value)

    def _from_storage(self, url: str, value: str) -> bytes:
        import daft

        with daft.File(url).open() as file:
            return self._bounded(file.read, value)

    def _from_the_web(self, url: str, value: str) -> bytes:
        """Fetched over a connection to an address that was looked at: the name is not looked up a second time."""
        for _ in range(MAX_REDIRECTS + 1):
            parts = urlsplit(url)
            connection = self._connection(parts)
            try:
                target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                connection.request("GET", target, headers={"Accept-Encoding": "identity"})
                answer = connection.getresponse()
                if answer.status in _MOVED:
                    url = urljoin(url, answer.headers.get("Location", ""))
                    self._check_url(url, url)
                    continue
                if answer.status != http.client.OK:
                    raise InvalidInputError(f"{url} cannot be read: {answer.status} {answer.reason}")
                return self._bounded(answer.read1, value)
            finally:
                connection.close()
        raise InvalidInputError(f"{value!r} cannot be read: more than {MAX_REDIRECTS} redirects")

    def _connection(self, parts: SplitResult) -> http.client.HTTPConnection:
        host, port = parts.hostname or "", parts.port or _WEB[parts.scheme.lower()]
        for *_, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            address = ipaddress.ip_address(str(place[0]).partition("%")[0])
            if self._may_connect(address):
                break
        else:
            raise InvalidInputError(
                f"{host} is at {address}, which is no public address: say --allow-paths {parts.scheme}://"
                f"{f'[{address}]' if address.version == 6 else address}/ if it may be asked"
            )
        pinned = socket.create_connection((str(address), port), TIMEOUT_S)
        if parts.scheme.lower() == "https":
            pinned = ssl.create_default_context().wrap_socket(pinned, server_hostname=host)
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        connection.sock = pinned
        return connection

    def _may_connect(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        """Whether an address is public, or one that the user spelt out."""
        mapped = getattr(address, "ipv4_mapped", None) or address
        inner = address.version == 6 and (any(address in net for net in _INNER) or address.sixtofour or address.teredo)
        relay = mapped.version == 4 and mapped in _RELAYS
        if mapped.is_global and not (mapped.is_multicast or inner or relay):
            return True
        named = {urlsplit(root).hostname for root in (self.base, *self.prefixes) if _is_url(root)}
        return str(mapped) in named or (mapped.is_loopback and "localhost" in named)

    def _bounded(self, read: Callable[[int], bytes], value: str) -> bytes:
        parts, size, end = [], 0, time.monotonic() + WHOLE_S
        while part := read(min(_BLOCK, self.max_bytes + 1 - size)):
            parts.append(part)
            size += len(part)
            if time.monotonic() > end:
                raise InvalidInputError(f"{value!r} was not there whole after {WHOLE_S:.0f} s")
            if size > self.max_bytes:
                raise self._too_large(value)
        return b"".join(parts)

    def _refused(self, value: str) -> InvalidInputError:
        return InvalidInputError(
            f"{value!r} is not below {self.base or '/'}, the input's own folder: name what else may be opened with "
            "--allow-paths"
        )

    def _too_large(self, value: str) -> InvalidInputError:
        return InvalidInputError(
            f"{value!r} has more than {self.max_bytes} bytes: allow more with --max-file-bytes, or make it smaller"
        )


def _is_url(text: str) -> bool:
    return "://" in text


def _is_below(url: str, root: str) -> bool:
    """Whether a URL is of the same scheme and host or bucket as another, and below its path."""
    try:
        asked, allowed = urlsplit(url), urlsplit(root)
    except ValueError:
        return False
    scheme = asked.scheme.lower()
    if scheme != allowed.scheme.lower() or scheme == "file" or not asked.netloc:
        return False
    if scheme not in _WEB:  # to object storage a key is a text, in which ? and # are like others
        return url.partition("://")[2].startswith(f"{root.partition('://')[2].rstrip('/')}/") and not _climbs(url)
    same = asked.netloc.lower() == allowed.netloc.lower() and "@" not in asked.netloc
    # Twice: a server may decode once more than it should.
    return same and asked.path.startswith(f"{allowed.path.rstrip('/')}/") and not _climbs(unquote(unquote(asked.path)))


def _climbs(path: str) -> bool:
    return ".." in path.replace("\\", "/").split("/")
