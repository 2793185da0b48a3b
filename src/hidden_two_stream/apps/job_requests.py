"""Jobs as the page asks for them: what each kind needs, checked before it is queued."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hidden_two_stream.apps.jobs import JobQueue, UnknownError
from hidden_two_stream.apps.state import RECIPES, AppState
from hidden_two_stream.checkpoint import RESULTS_FILE
from hidden_two_stream.config.loading import load_recipe
from hidden_two_stream.errors import UsageError
from hidden_two_stream.inference.windows import parse_protocol

__all__ = ["JOB_REQUESTS"]

_MOST_CHANGES = 100

Request = Callable[[AppState, Mapping[str, Any]], tuple[str, dict[str, Any], dict[str, Any]]]
"""State and request → title, task and about of a `Job`."""


def _label(state: AppState, data: Mapping[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    upload, run = state.uploads.get(_text(data, "video")), state.runs.get(_text(data, "run"))
    protocol = parse_protocol(_text(data, "protocol")).name
    task = {
        "path": str(upload.path),
        "name": upload.name,
        "seconds": upload.seconds,
        "run": str(run.folder),
        "protocol": protocol,
        "folder": JobQueue.FOLDER,
        "device": state.settings.device,
    }
    return upload.name, task, {"video": upload.id, "run": run.id, "protocol": protocol}


def _explain(state: AppState, data: Mapping[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    upload, run, label = (
        state.uploads.get(_text(data, "video")),
        state.runs.get(_text(data, "run")),
        _text(data, "label"),
    )
    if label not in run.info.classes:
        raise UsageError(
            f"this run has no class {label[:60]!r}; expected one of {', '.join(run.info.classes)}"
        )
    task = {
        "path": str(upload.path),
        "name": upload.name,
        "run": str(run.folder),
        "label": label,
        "folder": JobQueue.FOLDER,
        "device": state.settings.device,
    }
    return f"Why {label}? {upload.name}", task, {"video": upload.id, "run": run.id, "label": label}


def _preview(state: AppState, data: Mapping[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    project = state.projects.get(_text(data, "project"))
    clip = project.clip(_text(data, "clip"))
    task = {
        "path": str(project.path(clip)),
        "name": clip.name,
        "seconds": clip.seconds,
        "folder": JobQueue.FOLDER,
    }
    return f"Preview of {clip.name}", task, {"project": project.id, "clip": clip.id}


def _train(state: AppState, data: Mapping[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    project, recipe = state.projects.get(_text(data, "project")), data.get("recipe", "quick")
    changes = data.get("changes", [])
    if recipe not in RECIPES:
        raise UsageError(f"the recipe is {str(recipe)[:40]!r}; expected one of {', '.join(RECIPES)}")
    if not (isinstance(changes, list) and all(isinstance(change, str) for change in changes)):
        raise UsageError("the changes of the recipe are no list of texts, such as temporal.steps=50")
    if len(changes) > _MOST_CHANGES:
        raise UsageError(f"got {len(changes)} changes of the recipe; expected at most {_MOST_CHANGES}")
    load_recipe(recipe, changes)  # a wrong change is said now, and not when the job runs
    again = data.get("continue")
    if again is None:
        out = project.next_run(_waiting_runs(state, project.id))
        labels = project.write_labels(out)
    else:
        out = _stopped_run(project.runs(), again)
        labels = project.labels_of(out)
    task = {
        "data": str(labels),
        "out": str(out),
        "recipe": recipe,
        "changes": changes,
        "again": again is not None,
    }
    about = {"project": project.id, "run": out.name, "recipe": recipe}
    return f"Training {project.name} {out.name}", task, about


def _waiting_runs(state: AppState, project: str) -> list[str]:
    """Return the names of the runs of a project whose training waits or has just begun."""
    jobs = (
        job for job in state.jobs.all() if job["kind"] == "train" and job["state"] in ("queued", "running")
    )
    return [job["about"]["run"] for job in jobs if job["about"]["project"] == project]


def _stopped_run(runs: list[Path], name: object) -> Path:
    """Return the run of a project that is to be continued."""
    for run in runs:
        if run.name == name and not (run / RESULTS_FILE).exists():
            return run
    raise UnknownError("there is no stopped training of this name")


def _page(state: AppState, data: Mapping[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    run = state.runs.get(_text(data, "run"))
    task = {"run": str(run.folder), "folder": JobQueue.FOLDER, "title": run.name, "gently": False}
    return f"Page of {run.name}", task, {"run": run.id}


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str) or not value:
        raise UsageError(f"the request has no {name}")
    return value


JOB_REQUESTS: Mapping[str, Request] = {
    "label": _label,
    "explain": _explain,
    "preview": _preview,
    "train": _train,
    "page": _page,
}
"""Kind of job → what makes its task of a request. The kinds are keys of `apps.worker.TASKS`."""
