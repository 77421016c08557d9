"""What stands before gradio: who may ask, for what, and how much they may send.

Gradio serves far more than this page needs, fetches any address that it is given, and answers to any name that it is
called by: another page open in the same browser could use it by pointing a name of its own to this machine.
"""

import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

API = "/gradio_api"

PAGES = re.compile(
    r"/|/(assets|static|svelte)/.+|/(theme\.css|config|favicon\.ico|manifest\.json)"
    rf"|{API}/(upload|upload_progress|queue/join|queue/data|cancel|heartbeat/\w+|startup-events)"
)
"""All that the page asks for, but for files."""

MEGABYTE = 1024 * 1024
"""Bytes, as gradio counts them."""

FORM = 64 * 1024
"""Bytes that an upload has besides the file."""

MAX_REQUEST = MEGABYTE
"""Bytes of any other request."""

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
"""The browser itself asks nobody else. Gradio compiles its components in the browser, which takes 'unsafe-eval'."""

HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Guard:
    """Lets through what the page asks for and nothing else.

    Args:
        app: that it stands before.
        folder: of uploaded and made files, the only ones that are served.
        host: that the server was told to listen at.
        max_bytes: of an upload.
    """

    def __init__(self, app: App, folder: Path, host: str, max_bytes: int) -> None:
        self.app = app
        self.files = f"{API}/file={folder}/"
        self.names = {"localhost", host.lower(), socket.gethostname().lower()}
        self.max_bytes = max_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close"})
        elif refusal := self.refusal(scope):
            status, text = refusal
            length = str(len(text)).encode()
            headers = [(b"content-type", b"text/plain"), (b"content-length", length), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": status, "headers": [*headers, *HEADERS]})
            await send({"type": "http.response.body", "body": text.encode()})
        else:

            async def send_guarded(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message.get("headers", ()), *HEADERS]
                await send(message)

            await self.app(scope, receive, send_guarded)

    def refusal(self, scope: Message) -> tuple[int, str] | None:
        """Status and reason, where a request is not let through."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self.is_known(host):
            return 403, "This server does not go by that name."
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return 403, "Other pages may not use this server."
        path = scope["path"]
        if not (PAGES.fullmatch(path) or path.startswith(self.files)):
            return 404, "There is no such page."
        if scope["method"] not in ("GET", "HEAD"):
            length = headers.get("content-length", "")
            if not length.isdecimal() or "transfer-encoding" in headers:
                return 411, "Say how many bytes are sent."
            most = self.max_bytes + FORM if path == f"{API}/upload" else MAX_REQUEST
            if int(length) > most:
                return 413, f"Too large: at most {self.max_bytes / MEGABYTE:g} MB are taken."
        return None

    def is_known(self, host: str) -> bool:
        """Whether a server is called by its own name, or by an address, which nobody else can give to it."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self.names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True
