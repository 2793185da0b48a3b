"""Serves the application on this machine until Ctrl-C."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable
from pathlib import Path

from hidden_two_stream.apps.listening import AnnouncingServer, bound, require_libraries, shown_host
from hidden_two_stream.apps.settings import AppSettings
from hidden_two_stream.progress import note

__all__ = ["app"]


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
    require_libraries("the application", ("starlette", "uvicorn"), "app")
    import uvicorn

    from hidden_two_stream.apps.application import create_app

    chosen = settings or AppSettings()
    with bound(chosen.host, chosen.port) as listening:
        application = create_app(runs, chosen, recognizes=True)
        address = f"http://{shown_host(chosen.host)}:{listening.getsockname()[1]}/"
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
        server = AnnouncingServer(uvicorn.Server(config), ready)
        server.run(listening)
