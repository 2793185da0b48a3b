"""The service as an ASGI application: endpoints, and what protects them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from hidden_two_stream.apps.guard import Guard
from hidden_two_stream.apps.service.answers import error_answer
from hidden_two_stream.apps.service.failures import StoppingError, UnauthorizedError
from hidden_two_stream.apps.service.keys import KeyCheck
from hidden_two_stream.apps.service.measuring import Measuring
from hidden_two_stream.apps.service.model import open_model
from hidden_two_stream.apps.service.openapi import openapi_document
from hidden_two_stream.apps.service.page import PAGE_HEADERS, docs_page
from hidden_two_stream.apps.service.pipeline import Pipeline
from hidden_two_stream.apps.service.settings import ServeSettings
from hidden_two_stream.progress import note

__all__ = ["create_service"]

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Endpoint = Callable[[Pipeline, Request], Awaitable[Any]]


def create_service(run: str | Path, settings: ServeSettings | None = None) -> Starlette:
    """Return the service of a run as an ASGI application, for `hts serve` or any other ASGI server.

    Its worker processes and its temporary folder go when its life span ends.

    Args:
        run: a run folder, a checkpoint file, or an exported .onnx file.
        settings: limits, keys and how it computes; None: `ServeSettings()`.

    Raises:
        UsageError: the run or a setting is wrong.
        CheckpointError: the run cannot be used.
    """
    chosen = settings or ServeSettings()
    pipeline = Pipeline(open_model(run, chosen.protocol, chosen.device), chosen)
    keys = KeyCheck(chosen.api_keys)
    document = openapi_document(pipeline.model, chosen)
    page = docs_page(document)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            await pipeline.start()
            yield
        finally:
            await pipeline.close()

    async def show_document(_: Pipeline, __: Request) -> Any:
        return document

    async def show_page(_: Pipeline, __: Request) -> Response:
        return HTMLResponse(page, headers=PAGE_HEADERS)

    table: list[tuple[str, str, bool, Endpoint]] = [
        ("POST", "/v1/predict", True, _predict),
        ("GET", "/v1/labels", True, _labels),
        ("GET", "/v1/model", True, _model),
        ("GET", "/metrics", True, _metrics),
        ("GET", "/healthz", False, _alive),
        ("GET", "/readyz", False, _ready),
        ("GET", "/openapi.json", False, show_document),
        ("GET", "/docs", False, show_page),
    ]
    routes = [
        Route(path, _answered(pipeline, endpoint, keys if is_guarded else KeyCheck(())), methods=[method])
        for method, path, is_guarded, endpoint in table
    ]
    paths = frozenset(path for _, path, _, _ in table)
    application = Starlette(
        routes=routes,
        middleware=[
            Middleware(Measuring, measures=pipeline.measures, paths=paths),
            Middleware(Guard, hosts=[chosen.host, *chosen.allow_hosts], refuses=not keys.is_required),
        ],
        exception_handlers={HTTPException: _wrong_address},
        lifespan=lifespan,
    )
    application.state.pipeline = pipeline
    return application


def _answered(
    pipeline: Pipeline, endpoint: Endpoint, keys: KeyCheck
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            _require_key(request, keys)
            result = await endpoint(pipeline, request)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        except asyncio.CancelledError:  # the time to end is over
            return error_answer(StoppingError("this service ends; try again soon"))
        except Exception as error:
            found = error_answer(error)
            if found.status_code == 500:
                note(f"hts: {request.method} {request.url.path}: {bytes(found.body).decode()}")
            return found
        return result if isinstance(result, Response) else JSONResponse(result)

    return answer


def _require_key(request: Request, keys: KeyCheck) -> None:
    headers = request.headers
    if not keys.accepts(headers.get("authorization"), headers.get("x-api-key")):
        raise UnauthorizedError(
            "no right API key; send it in the header Authorization: Bearer KEY, or X-API-Key: KEY"
        )


async def _predict(pipeline: Pipeline, request: Request) -> Response:
    found = await pipeline.predict(request)
    return JSONResponse(found, headers={"X-Model-Version": pipeline.model.version})


async def _labels(pipeline: Pipeline, _: Request) -> Any:
    return {"labels": list(pipeline.model.recognizer.classes)}


async def _model(pipeline: Pipeline, _: Request) -> Any:
    return pipeline.model.to_dict()


async def _metrics(pipeline: Pipeline, _: Request) -> Response:
    return Response(pipeline.measures.text(), headers={"Content-Type": _METRICS_TYPE})


async def _alive(pipeline: Pipeline, _: Request) -> Any:
    if pipeline.is_broken:
        raise StoppingError("videos are no longer scored; start the service again")
    return {"status": "alive"}


async def _ready(pipeline: Pipeline, _: Request) -> Any:
    if not pipeline.is_ready:
        raise StoppingError("not ready")
    return {"status": "ready"}


async def _wrong_address(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    method, path = request.method, request.url.path[:100]
    text = f"{method} {path} is not an address here; see /docs"
    if error.status_code == 405:
        text = f"{path} does not take {method}; see /docs"
    return JSONResponse({"error": text}, error.status_code, error.headers)
