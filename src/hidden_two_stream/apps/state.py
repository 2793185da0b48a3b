"""What the endpoints share: settings, runs, projects, uploads, jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hidden_two_stream._version import __version__
from hidden_two_stream.apps.jobs import Job, JobQueue
from hidden_two_stream.apps.page_maker import PageMaker
from hidden_two_stream.apps.projects import Project, ProjectStore
from hidden_two_stream.apps.runs import OfferedRun, RunList
from hidden_two_stream.apps.settings import AppSettings
from hidden_two_stream.apps.uploads import UploadStore
from hidden_two_stream.checkpoint import MODEL_FILE, RESULTS_FILE
from hidden_two_stream.errors import HiddenTwoStreamError
from hidden_two_stream.weights.hub import find_run

__all__ = ["PROTOCOLS", "RECIPES", "AppState"]

PROTOCOLS = {
    "center": "quick look: the middle of the video",
    "10x1": "10 clips",
    "25x10": "25 clips × 10 crops",
}
"""Protocols that the page offers, with what they mean."""
RECIPES = {
    "quick": "seconds: learns from motion alone, good for a handful of clips per class",
    "nano": "minutes: both streams, calibrated, for dozens of clips per class",
    "tiny": "long: a larger network, best with a GPU",
}
"""Recipes that the page offers, with what they mean."""


@dataclass
class AppState:
    """The parts of a running application.

    Attributes:
        settings: as given.
        folder: temporary files, deleted at the end.
        page: makes the page that recognizes inside the browser.
        pages: folders of the pages of runs, by id of the run.
        problems: what was found wrong at the start, a line each.
    """

    settings: AppSettings
    folder: Path
    runs: RunList = field(default_factory=RunList)
    pages: dict[str, Path] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.projects = ProjectStore(self.settings.projects)
        self.uploads = UploadStore(self.folder / "videos", self.settings)
        self.page = PageMaker(self.folder / "page")
        self.jobs = JobQueue(self.folder / "jobs", self.settings.queue_length, self._on_done)

    def add_runs(self, folders: Sequence[str | Path]) -> None:
        """Offer runs, and then those of the projects.

        Raises:
            UsageError, CheckpointError: one of the named runs cannot be used. Projects whose runs cannot are
                left in `problems`.
        """
        for folder in folders:
            found = find_run(folder)
            self.runs.add(found.path, "" if found.hub is None else found.hub.repository)
        projects, self.problems = self.projects.all()
        for project in projects:
            for folder in project.runs():
                if (folder / MODEL_FILE).exists() and (folder / RESULTS_FILE).exists():
                    try:
                        self.add_trained(project, folder)
                    except HiddenTwoStreamError as error:
                        self.problems.append(str(error))

    def add_trained(self, project: Project, folder: Path) -> OfferedRun:
        """Offer a run of a project."""
        return self.runs.add(folder, f"{project.name} {folder.name}")

    def close(self) -> None:
        """End all processes."""
        self.page.close()
        self.jobs.close()
        self.uploads.close()

    def to_dict(self) -> dict[str, Any]:
        """Return what the page needs at its start, ready for JSON."""
        settings, (projects, problems) = self.settings, self.projects.all()
        return {
            "version": __version__,
            "runs": [run.to_dict() for run in self.runs.all()],
            "projects": [project.to_dict() for project in projects],
            "videos": [upload.to_dict() for upload in self.uploads.all()],
            "jobs": self.jobs.all(),
            "protocols": PROTOCOLS,
            "recipes": RECIPES,
            "pages": sorted(self.pages),
            "page": self.page.to_dict(),
            "limits": {
                "bytes": settings.max_upload_bytes,
                "seconds": settings.max_seconds,
                "queue": settings.queue_length,
            },
            "projects_folder": str(settings.projects.absolute()),
            "problems": [*dict.fromkeys([*self.problems, *problems])],
        }

    def _on_done(self, job: Job) -> None:
        if job.kind == "train":
            run = self.add_trained(self.projects.get(job.about["project"]), Path(job.result["run"]))
            job.result = {**job.result, "run_id": run.id, "name": run.name}
        elif job.kind == "page":
            self.pages[job.about["run"]] = Path(job.result["folder"])
