"""The web application: the page, the endpoints, and what protects them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from hidden_two_stream.apps.api import error_response, routes
from hidden_two_stream.apps.guard import Guard
from hidden_two_stream.apps.jobs import UnknownError
from hidden_two_stream.apps.pages import OWN_FILES, PAGE_FILES, page_response
from hidden_two_stream.apps.settings import AppSettings
from hidden_two_stream.apps.state import AppState

__all__ = ["create_app"]


def create_app(
    runs: Sequence[str | Path] = (), settings: AppSettings | None = None, *, recognizes: bool = False
) -> Starlette:
    """Return the application. It keeps files in a temporary folder, which goes when its life span ends.

    Args:
        runs: run folders to offer; those of the projects come with them.
        settings: limits and folders; None: `AppSettings()`.
        recognizes: export the first run in the background, or without runs the stream that ships with the
            package, so that the page also recognizes and learns inside the browser.

    Raises:
        UsageError, CheckpointError: a run cannot be used.
    """
    chosen = settings or AppSettings()
    folder = Path(tempfile.mkdtemp(prefix="hts-app-"))
    state = AppState(chosen, folder)
    try:
        state.add_runs(runs)
    except BaseException:
        _close(state)
        raise

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        if recognizes:
            state.page.make(None if not runs else str(runs[0]))
        try:
            yield
        finally:
            _close(state)

    application = Starlette(
        routes=[
            Mount("/api", routes=routes(state)),
            Route("/server/{name:path}", _own_file),
            Route("/runs/{run}/{name:path}", _run_page(state)),
            Route("/{name:path}", _page(state)),
        ],
        middleware=[Middleware(Guard, hosts=[chosen.host])],
        exception_handlers={404: _not_found, 405: _not_found},
        lifespan=lifespan,
    )
    application.state.app = state
    return application


def _close(state: AppState) -> None:
    state.close()
    shutil.rmtree(state.folder, ignore_errors=True)


async def _own_file(request: Request) -> Response:
    return _file(OWN_FILES, request.path_params["name"])


def _page(state: AppState):  # type: ignore[no-untyped-def]
    async def page(request: Request) -> Response:
        root = state.page.folder
        return _file(root or PAGE_FILES, request.path_params["name"], has_recognizer=root is not None)

    return page


def _run_page(state: AppState):  # type: ignore[no-untyped-def]
    async def page(request: Request) -> Response:
        root = state.pages.get(request.path_params["run"])
        if root is None:
            return error_response(UnknownError("there is no page of this run; open it from the list of runs"))
        return _file(root, request.path_params["name"], has_panels=False)

    return page


def _file(root: Path, name: str, *, has_recognizer: bool = True, has_panels: bool = True) -> Response:
    try:
        return page_response(root, name, has_recognizer=has_recognizer, has_panels=has_panels)
    except UnknownError as error:
        return error_response(error)


async def _not_found(request: Request, _: Exception) -> Response:
    return JSONResponse({"error": f"{request.method} {request.url.path[:100]} is not an address here"}, 404)
