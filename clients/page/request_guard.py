"""Which requests reach the page: those of its own browser windows, under its own names, within bounds.

A page on this machine can be asked by every other page that is open in a browser on it, directly or under a name that
its owner points here (DNS rebinding). Both show in the headers that a browser sends and no page can change.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_BODY_BYTES = 16 << 20  # of a request that is no upload: a text of statements, the settings of controls
MAX_UPLOADED_BYTES = 1 << 30  # of all files that lie in the page's folder
_UPLOAD = "/gradio_api/upload"
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
# Gradio would fetch these from elsewhere for whoever asks, with this machine's address.
_FETCHES = ("/gradio_api/proxy=", "/gradio_api/file=http:", "/gradio_api/file=https:", "/proxy=", "/file=http")


class RequestGuard:
    """An ASGI application that refuses what is not for the page, and hands it the rest.

    Args:
        app: the page.
        folder: where it keeps what was dropped on it.
        host: the address that it listens on. Where that is every address of the machine, the names of the machine and
            any address count as the page's own: a name that points here is refused, an address points nowhere else.
        names: by which it is reached besides, as through a proxy.
        max_uploaded_bytes: of all files in the folder together.
    """

    def __init__(
        self,
        app: Any,
        folder: Path,
        *,
        host: str = "127.0.0.1",
        names: Iterable[str] = (),
        max_uploaded_bytes: int = MAX_UPLOADED_BYTES,
    ) -> None:
        self._app, self._folder, self._most = app, folder, max_uploaded_bytes
        host = host.strip("[]").lower()
        self._any_address = _is_address(host) and ipaddress.ip_address(host).is_unspecified
        self._names = {host, *_THIS_MACHINE, *(name.lower() for name in names)}
        if self._any_address:
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
        self._lying = 0  # bytes in the folder when it was last looked at
        self._arrived = 0  # bytes that uploads have brought since then

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let the page answer it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if (refusal := self._refusal(scope)) is not None:
            await _refuse(scope, send, *refusal)
            return
        if scope["type"] == "http":
            receive = self._bounded(scope, receive)
        try:
            await self._app(scope, receive, send)
        except _TooLargeError as error:  # a request that does not say how long it is, or lies
            await _refuse(scope, send, 413, str(error))

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """The status and the reason for which a request is refused, by its headers alone."""
        headers = scope["headers"]
        hosts, origins, lengths = (
            [value.decode("latin-1") for name, value in headers if name == wanted]
            for wanted in (b"host", b"origin", b"content-length")
        )
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return 421, f"this page is not {hosts[0][:80] if hosts else 'nameless'}: open it by its own address"
        if any(urlsplit(origin).netloc.lower() != hosts[0].lower() for origin in origins):
            return 403, "another page may not use this one"
        if unquote(scope["path"]).startswith(_FETCHES):
            return 403, "this page fetches nothing from elsewhere"
        if not all(length.isdecimal() for length in lengths):
            return 400, "Content-Length is a number"
        try:
            coming = max(map(int, lengths), default=0)
            self._check(scope, coming, coming)
        except _TooLargeError as error:
            return 413, str(error)
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._names or (self._any_address and _is_address(name))

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """``receive``, which ends a request that brings more than it may."""
        size = 0

        async def bounded() -> MutableMapping[str, Any]:
            nonlocal size
            message = await receive()
            part = len(message.get("body", b""))
            size += part
            self._arrived += part
            self._check(scope, size, 0)
            return message

        return bounded

    def _check(self, scope: Scope, size: int, coming: int) -> None:
        """See that a request of so many bytes is within the bounds, with so many of them still to come.

        All that arrives may become a file: Gradio also takes files as texts within other requests.
        """
        if size > MAX_BODY_BYTES and scope["path"].rstrip("/") != _UPLOAD:
            raise _TooLargeError(f"a request has at most {MAX_BODY_BYTES >> 20} MiB")
        if self._lying + self._arrived + coming > self._most:  # unless files have gone meanwhile
            self._lying, self._arrived = folder_bytes(self._folder), 0
        if self._lying + self._arrived + coming > self._most:
            raise _TooLargeError(
                f"the files on this page have at most {self._most >> 20} MiB together: wait an hour, or start it again"
            )


class _TooLargeError(Exception):
    """A request brings more than it may."""


def folder_bytes(folder: Path) -> int:
    """The bytes of all files in a folder and below."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(where, name)).st_size
            except FileNotFoundError:  # moved to its place meanwhile
                continue
    return total


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _refuse(scope: Scope, send: Send, status: int, reason: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": reason})
        return
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"connection", b"close"),
    ]  # the rest of its body is not read
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{reason}\n".encode()})
