"""Serves a run over HTTP until a signal ends it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hidden_two_stream.apps.listening import AnnouncingServer, bound, require_libraries, shown_host
from hidden_two_stream.apps.service.settings import ServeSettings
from hidden_two_stream.progress import note

__all__ = ["MOST_CONNECTIONS", "serve"]

MOST_CONNECTIONS = 1000
_KEEP_ALIVE_SECONDS = 15


def serve(
    run: str | Path,
    settings: ServeSettings | None = None,
    *,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve predictions of a run over HTTP until SIGTERM or Ctrl-C.

    The signal closes the port at once; requests in progress are answered first.

    Args:
        run: a run folder, a checkpoint file, or an exported .onnx file.
        settings: where to listen, limits and keys; None: `ServeSettings()`.
        on_ready: called with the address once requests are answered; None: the address is printed.

    Raises:
        MissingDependencyError: the extra `serve` is not installed.
        UsageError: the run or a setting is wrong, or the port is in use.
        CheckpointError: the run cannot be used.
        WorkerError: worker processes cannot be started.
        KeyboardInterrupt: a signal, after all processes have ended and temporary files are deleted.
    """
    require_libraries(
        "the service", ("starlette", "uvicorn", "python_multipart", "prometheus_client"), "serve"
    )
    import uvicorn

    from hidden_two_stream.apps.service.application import create_service
    from hidden_two_stream.data.clip_cache import default_workers
    from hidden_two_stream.parallel import require_semaphores

    chosen = settings or ServeSettings()
    require_semaphores(chosen.workers or default_workers())
    with bound(chosen.host, chosen.port) as listening:
        application = create_service(run, chosen)
        address = f"http://{shown_host(chosen.host)}:{listening.getsockname()[1]}/"
        if not chosen.is_local and not chosen.api_keys:
            note(
                f"warning: {chosen.host} is not only this machine, and there is no API key: anyone who "
                "reaches it can use the service; set HTS_API_KEY or --api-key-file"
            )

        def ready() -> None:
            if on_ready is None:
                note(f"the service is at {address}  (description: {address}docs; Ctrl-C ends it)")
            else:
                on_ready(address)

        config = uvicorn.Config(
            application,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            lifespan="on",
            limit_concurrency=MOST_CONNECTIONS,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=round(chosen.drain_seconds) or 1,
        )
        AnnouncingServer(uvicorn.Server(config), ready).run(listening)
