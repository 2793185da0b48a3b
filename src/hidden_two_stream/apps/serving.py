"""Serves the application on this machine until Ctrl-C."""

from __future__ import annotations

import socket
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hidden_two_stream.apps.settings import AppSettings
from hidden_two_stream.errors import MissingDependencyError, UsageError
from hidden_two_stream.progress import note

__all__ = ["app"]

_LIBRARIES = ("starlette", "uvicorn")


def app(
    *runs: str | Path,
    settings: AppSettings | None = None,
    open_browser: bool = False,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the local application until Ctrl-C: videos, comparison, labeling and training in a page.

    Args:
        runs: run folders to offer; the first one also recognizes actions inside the browser. None: the page
            is for teaching, labeling and training.
        settings: where to listen, limits, folder of the projects; None: `AppSettings()`.
        open_browser: open the page in the default browser.
        on_ready: called with the address once the page can be opened; None: the address is printed.

    Raises:
        MissingDependencyError: the extra `app` is not installed.
        UsageError: a run or a setting is wrong, or the port is in use.
        CheckpointError: a run cannot be used.
        KeyboardInterrupt: Ctrl-C, after all processes have ended and temporary files are deleted.
    """
    missing = [name for name in _LIBRARIES if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"the application needs {' and '.join(missing)}; install {'it' if len(missing) == 1 else 'them'} "
            "with: pip install 'hidden-two-stream[app]'"
        )
    import uvicorn

    from hidden_two_stream.apps.application import create_app

    chosen = settings or AppSettings()
    with _bound(chosen) as listening:
        application = create_app(runs, chosen, recognizes=True)
        address = f"http://{_shown_host(chosen.host)}:{listening.getsockname()[1]}/"
        if not chosen.is_local:
            note(
                f"warning: {chosen.host} is not only this machine: anyone on the network can use the page, "
                "upload videos and train; leave --host out to keep it to yourself"
            )

        def ready() -> None:
            if on_ready is None:
                note(f"the page is at {address}  (Ctrl-C ends it)")
            else:
                on_ready(address)
            if open_browser:
                webbrowser.open(address)

        config = uvicorn.Config(application, log_level="warning", timeout_graceful_shutdown=2, lifespan="on")
        server = _Announcing(uvicorn.Server(config), ready)
        server.run(listening)


class _Announcing:
    """A uvicorn server that calls a function once it listens."""

    def __init__(self, server: Any, ready: Callable[[], None]) -> None:
        self._server = server
        startup = server.startup

        async def announced(sockets: Any = None) -> None:
            await startup(sockets)
            if server.started:
                ready()

        server.startup = announced

    def run(self, listening: socket.socket) -> None:
        self._server.run(sockets=[listening])


def _bound(settings: AppSettings) -> socket.socket:
    """Return a socket at the address of the settings.

    Raises:
        UsageError: the address or the port cannot be used.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            settings.host.strip("[]"), settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind)
    except OSError as error:
        raise UsageError(
            f"cannot listen at {settings.host!r}: {error.strerror or error}; check --host"
        ) from error
    try:
        with suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except OSError as error:
        found.close()
        raise UsageError(
            f"cannot listen at {settings.host}:{settings.port}: {error.strerror or error}; choose another "
            "--port (0: any free one)"
        ) from error
    return found


def _shown_host(host: str) -> str:
    if host in ("0.0.0.0", "::"):
        return socket.gethostname()
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
