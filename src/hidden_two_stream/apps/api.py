"""The endpoints below /api/: JSON in, JSON out, {"error": …} with the package's message where it fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hidden_two_stream.apps.job_requests import JOB_REQUESTS
from hidden_two_stream.apps.jobs import QueueFullError, UnknownError
from hidden_two_stream.apps.pages import file_response, video_response
from hidden_two_stream.apps.probing import THUMBNAIL
from hidden_two_stream.apps.state import AppState
from hidden_two_stream.apps.uploads import TooLargeError
from hidden_two_stream.apps.worker_process import JobStoppedError
from hidden_two_stream.errors import HiddenTwoStreamError, OutputError, UsageError, WorkerError, unexpected
from hidden_two_stream.files import parse_json

__all__ = ["MOST_JSON_BYTES", "error_response", "routes"]

_STATUS: Mapping[type[HiddenTwoStreamError], int] = {
    UnknownError: 404,
    TooLargeError: 413,
    QueueFullError: 503,
    JobStoppedError: 503,
    WorkerError: 500,
    OutputError: 507,
    HiddenTwoStreamError: 400,
}
"""Error → HTTP status: that of the first class that fits."""

MOST_JSON_BYTES = 1_000_000
"""Bytes of a request that is no video."""

Endpoint = Callable[[AppState, Request], Awaitable[Any]]


def error_response(error: Exception) -> Response:
    """Return the answer to a request that failed."""
    if not isinstance(error, HiddenTwoStreamError):
        return JSONResponse({"error": unexpected(error)}, 500)
    status = next(status for kind, status in _STATUS.items() if isinstance(error, kind))
    return JSONResponse({"error": " ".join(str(error).split())}, status)


def routes(state: AppState) -> list[Route]:
    """Return the routes, to be mounted below /api."""
    table: list[tuple[str, str, Endpoint]] = [
        ("GET", "/state", _state),
        ("POST", "/videos", _add_video),
        ("GET", "/videos/{video}/file", _video_file),
        ("GET", "/videos/{video}/thumbnail", _video_thumbnail),
        ("DELETE", "/videos/{video}", _remove_video),
        ("GET", "/jobs", _all_jobs),
        ("POST", "/jobs", _add_job),
        ("GET", "/jobs/{job}", _job),
        ("DELETE", "/jobs/{job}", _cancel_job),
        ("GET", "/jobs/{job}/files/{file}", _job_file),
        ("POST", "/projects", _add_project),
        ("GET", "/projects/{project}", _project),
        ("POST", "/projects/{project}/classes", _add_class),
        ("DELETE", "/projects/{project}/classes/{label:path}", _remove_class),
        ("POST", "/projects/{project}/clips", _add_clip),
        ("PUT", "/projects/{project}/clips/{clip}", _label_clip),
        ("DELETE", "/projects/{project}/clips/{clip}", _remove_clip),
        ("GET", "/projects/{project}/clips/{clip}/file", _clip_file),
        ("GET", "/projects/{project}/clips/{clip}/thumbnail", _clip_thumbnail),
    ]
    return [Route(path, _answered(state, endpoint), methods=[method]) for method, path, endpoint in table]


def _answered(state: AppState, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            result = await endpoint(state, request)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        except Exception as error:
            return error_response(error)
        return result if isinstance(result, Response) else JSONResponse(result)

    return answer


async def _state(state: AppState, _: Request) -> Any:
    return state.to_dict()


# -- uploaded videos


async def _add_video(state: AppState, request: Request) -> Any:
    upload = await state.uploads.receive(*_upload_of(request))
    return state.uploads.keep(upload).to_dict()


async def _video_file(state: AppState, request: Request) -> Any:
    return video_response(state.uploads.get(request.path_params["video"]).path)


async def _video_thumbnail(state: AppState, request: Request) -> Any:
    return file_response(state.uploads.get(request.path_params["video"]).path.with_name(THUMBNAIL))


async def _remove_video(state: AppState, request: Request) -> Any:
    upload = state.uploads.get(request.path_params["video"])
    if state.jobs.uses(upload.path):
        raise UsageError(f"a job still works on {upload.name!r}; cancel it first")
    state.uploads.discard(upload)
    return {}


# -- jobs


async def _all_jobs(state: AppState, _: Request) -> Any:
    return {"jobs": state.jobs.all()}


async def _add_job(state: AppState, request: Request) -> Any:
    data = await _json(request)
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in JOB_REQUESTS:
        raise UsageError(f"the kind of job is {str(kind)[:40]!r}; expected one of {', '.join(JOB_REQUESTS)}")
    title, task, about = JOB_REQUESTS[kind](state, data)
    return state.jobs.add(kind, title, task, about)


async def _job(state: AppState, request: Request) -> Any:
    return state.jobs.get(request.path_params["job"])


async def _cancel_job(state: AppState, request: Request) -> Any:
    return state.jobs.cancel(request.path_params["job"])


async def _job_file(state: AppState, request: Request) -> Any:
    return file_response(state.jobs.file(request.path_params["job"], request.path_params["file"]))


# -- projects


async def _add_project(state: AppState, request: Request) -> Any:
    return state.projects.add((await _json(request)).get("name", "")).to_dict()


async def _project(state: AppState, request: Request) -> Any:
    return state.projects.get(request.path_params["project"]).to_dict()


async def _add_class(state: AppState, request: Request) -> Any:
    data = await _json(request)
    project = state.projects.get(request.path_params["project"])
    return state.projects.add_class(project, data.get("name", "")).to_dict()


async def _remove_class(state: AppState, request: Request) -> Any:
    project = state.projects.get(request.path_params["project"])
    return state.projects.remove_class(project, request.path_params["label"]).to_dict()


async def _add_clip(state: AppState, request: Request) -> Any:
    name = request.path_params["project"]
    state.projects.get(name)  # before the upload, not after it
    upload = await state.uploads.receive(*_upload_of(request))
    try:
        project, clip = state.projects.add_clip(
            state.projects.get(name),  # other clips may have come meanwhile
            upload.path,
            upload.name,
            upload.seconds,
            request.query_params.get("label"),
        )
    finally:
        state.uploads.discard(upload)
    return {"project": project.to_dict(), "clip": clip.id}


async def _label_clip(state: AppState, request: Request) -> Any:
    data = await _json(request)
    intervals = data.get("intervals", [])
    if not (isinstance(intervals, list) and all(isinstance(part, dict) for part in intervals)):
        raise UsageError("the intervals are no list; expected a list of start, end and label")
    project = state.projects.get(request.path_params["project"])
    clip = project.clip(request.path_params["clip"])
    return state.projects.label(project, clip, data.get("label"), intervals).to_dict()


async def _remove_clip(state: AppState, request: Request) -> Any:
    project = state.projects.get(request.path_params["project"])
    return state.projects.remove_clip(project, project.clip(request.path_params["clip"])).to_dict()


async def _clip_file(state: AppState, request: Request) -> Any:
    project = state.projects.get(request.path_params["project"])
    path = project.path(project.clip(request.path_params["clip"]))
    if not path.is_file():
        raise UnknownError(f"the file {path.name!r} is gone; remove the clip")
    return video_response(path)


async def _clip_thumbnail(state: AppState, request: Request) -> Any:
    project = state.projects.get(request.path_params["project"])
    path = project.thumbnail(project.clip(request.path_params["clip"]))
    if not path.is_file():
        raise UnknownError("this clip has no small image")
    return file_response(path)


def _upload_of(request: Request) -> tuple[str, str | None, Any]:
    """Return the file name, the declared length and the bytes of an upload: the body is the file."""
    name = request.query_params.get("name", "")
    return name, request.headers.get("content-length"), request.stream()


async def _json(request: Request) -> dict[str, Any]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_JSON_BYTES:
            raise TooLargeError(f"the request has more than {MOST_JSON_BYTES:,} bytes")
    try:
        data = parse_json(body.decode("utf-8"))
    except ValueError as error:
        raise UsageError(f"the request is no JSON: {error}") from error
    if not isinstance(data, dict):
        raise UsageError("the request is no JSON object")
    return data
