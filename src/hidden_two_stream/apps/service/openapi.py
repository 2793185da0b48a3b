"""The OpenAPI description of the service, version 3.1.

It is kept by hand beside the endpoints. Tests send what it allows and forbids, and check the answers by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from hidden_two_stream._version import __version__
from hidden_two_stream.apps.service.allowed import LONGEST_URL
from hidden_two_stream.apps.service.model import ServedModel
from hidden_two_stream.apps.service.pipeline import DEFAULT_TOP, MOST_TOP
from hidden_two_stream.apps.service.receiving import FORM, JSON
from hidden_two_stream.apps.service.settings import ServeSettings

__all__ = ["openapi_document"]

_ERRORS = {
    400: "A parameter, the form or the JSON is wrong.",
    401: "There is no right API key.",
    403: "The URL may not be downloaded, or the request comes from another site.",
    404: "There is nothing at this address.",
    405: "The address does not take this method.",
    408: "The upload or the download takes too long.",
    413: "The video is too large.",
    415: "The body is of another media type.",
    422: "The video cannot be read; the message says why.",
    429: "Too many videos are in progress.",
    500: "Something went wrong inside of the service.",
    502: "The URL cannot be downloaded.",
    503: "The service is starting or ending.",
    504: "Decoding or the answer takes too long.",
    507: "There is no disk space left.",
}
"""What each failure means; the message is in {"error": …}."""

_BODIES = ("video/mp4", "video/webm", "video/quicktime", "video/x-msvideo", "application/octet-stream")
_PREDICT_ERRORS = (400, 403, 408, 413, 415, 422, 429, 500, 502, 503, 504, 507)

_SCORE = {"type": "number", "minimum": 0, "maximum": 1.000001}


def openapi_document(model: ServedModel, settings: ServeSettings) -> dict[str, Any]:
    """Return the description of the service of a model, ready for JSON."""
    has_keys = bool(settings.api_keys)
    guarded = (401,) if has_keys else ()
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": f"Hidden Two-Stream: {model.name}",
            "version": __version__,
            "description": "Recognizes actions in videos. Times are seconds, scores fractions from 0 to 1. "
            'A failure is answered with {"error": "the reason in one line"}.',
        },
        "paths": {
            "/v1/predict": {"post": _predict(settings, guarded)},
            "/v1/labels": _get("The labels, in the order of scores", "Labels", guarded),
            "/v1/model": _get("The model that is served", "Model", guarded),
            "/metrics": _get("Counters in the text format of Prometheus", None, guarded),
            "/healthz": _get("Whether the service is alive", "Status", (503,)),
            "/readyz": _get("Whether the service answers predictions", "Status", (503,)),
            "/openapi.json": _get("This description", "Description", ()),
            "/docs": _get("This description as a page", None, (), "text/html"),
        },
        "components": {"schemas": _schemas(model)},
    }
    if has_keys:
        document["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
    return document


def _predict(settings: ServeSettings, guarded: Sequence[int]) -> dict[str, Any]:
    video = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}
    url = {"type": "string", "format": "uri", "maxLength": LONGEST_URL}
    content: dict[str, Any] = {
        FORM: {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {"file": video},
                "additionalProperties": False,
            }
        },
        **{kind: {"schema": video} for kind in _BODIES},
    }
    if settings.allow_urls:
        content[JSON] = {
            "schema": {
                "type": "object",
                "required": ["url"],
                "properties": {"url": url},
                "additionalProperties": False,
            }
        }
    answers = _answers("Prediction", (*_PREDICT_ERRORS, *guarded))
    answers["200"]["headers"] = {
        "X-Model-Version": {
            "description": "Start of the SHA-256 of the weights",
            "schema": {"type": "string"},
        }
    }
    return {
        "summary": "Label a video",
        "description": f"The body is the video itself, or a form with the field file. At most "
        f"{settings.max_upload_mb:g} MB. The answer is an entry of `predictions` of `hts predict --json`."
        + (' A form may instead have the field url, and JSON is {"url": …}.' if settings.allow_urls else ""),
        "operationId": "predict",
        "parameters": [
            _parameter(
                "top",
                "Number of best labels in the answer",
                {"type": "integer", "minimum": 1, "maximum": MOST_TOP, "default": DEFAULT_TOP},
            ),
            _parameter(
                "threshold",
                "The score below which no label fits; 0: one always fits",
                {"type": "number", "minimum": 0, "maximum": 1},
            ),
            _parameter("name", "How the answer calls the video", {"type": "string"}),
        ],
        "requestBody": {"required": True, "content": content},
        "responses": answers,
        **_security(guarded),
    }


def _parameter(name: str, text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": text, "schema": dict(schema)}


def _get(summary: str, schema: str | None, errors: Sequence[int], kind: str = "text/plain") -> dict[str, Any]:
    return {
        "get": {
            "summary": summary,
            "responses": _answers(schema, (403, 500, *errors), kind),
            **_security(errors),
        }
    }


def _security(errors: Sequence[int]) -> dict[str, Any]:
    return {"security": [{"bearer": []}, {"key": []}]} if 401 in errors else {}


def _answers(schema: str | None, errors: Sequence[int], kind: str = "text/plain") -> dict[str, Any]:
    """Return the answers of an endpoint: 200 with JSON of a schema, or with text, and failures."""
    content = {JSON: {"schema": _reference(schema)}} if schema else {kind: {"schema": {"type": "string"}}}
    answers: dict[str, Any] = {"200": {"description": "OK", "content": content}}
    for status in sorted({404, 405, *errors}):
        answers[str(status)] = {
            "description": f"{HTTPStatus(status).phrase}. {_ERRORS[status]}",
            "content": {JSON: {"schema": _reference("Error")}},
        }
        if status in (429, 503):
            header = {"description": "Seconds to wait", "schema": {"type": "integer"}}
            answers[str(status)]["headers"] = {"Retry-After": header}
    return answers


def _reference(schema: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{schema}"}


def _object(properties: Mapping[str, Any], *optional: str) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [name for name in properties if name not in optional],
        "properties": dict(properties),
        "additionalProperties": False,
    }


def _schemas(model: ServedModel) -> dict[str, Any]:
    text, count = {"type": "string"}, {"type": "integer", "minimum": 0}
    label = {"type": "string", "enum": list(model.recognizer.classes)}
    best = _object({"label": label, "score": _SCORE})
    return {
        "Error": _object({"error": text}),
        "Status": _object({"status": text}),
        "Labels": _object({"labels": {"type": "array", "items": label}}),
        "Description": {"type": "object"},
        "Model": {
            "type": "object",
            "required": list(model.to_dict()),
            "properties": {"name": text, "version": text, "labels": {"type": "array", "items": label}},
        },
        "Prediction": _object(
            {
                "source": text,
                "label": {"anyOf": [label, {"type": "null"}]},
                "known": {"type": "boolean"},
                "best": label,
                "score": _SCORE,
                "threshold": {"type": ["number", "null"]},
                "similarity": {"type": ["number", "null"]},
                "least_similarity": {"type": ["number", "null"]},
                "top": {"type": "array", "items": best, "minItems": 1},
                "streams": {"type": "object", "additionalProperties": best},
                "num_frames": count,
                "protocol": text,
                "warnings": {"type": "array", "items": text},
            }
        ),
    }
