"""The queue of jobs: one runs, the others wait in order; each can be watched, cancelled and forgotten."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hidden_two_stream.apps.worker_process import JobStoppedError, WorkerProcess
from hidden_two_stream.errors import HiddenTwoStreamError, unexpected

__all__ = ["MOST_KEPT", "Job", "JobQueue", "QueueFullError", "UnknownError"]

State = Literal["queued", "running", "done", "failed", "cancelled"]

MOST_KEPT = 100
"""Jobs that are remembered."""
_MOST_NOTES = 20


class QueueFullError(HiddenTwoStreamError):
    """As many jobs wait as may."""


class UnknownError(HiddenTwoStreamError):
    """There is no job, video, run, project or file of this name."""


@dataclass
class Job:
    """One task of the worker, and what became of it.

    Attributes:
        id: its name in addresses.
        kind: kind of task, see `apps.worker.TASKS`.
        title: what it works on, for people.
        task: arguments of the task.
        about: what the page needs to know about it, such as {"video": id, "run": id}; ready for JSON.
        folder: its files, deleted with the job.
        state: where it stands.
        progress: the last {"title", "done", "total", "note"}; None: nothing yet.
        notes: messages of the package while it ran, the latest last.
        result: what the task returned, or knows early, ready for JSON.
        error: why it failed, in one line.
        began, ended: time.monotonic() of the start and the end.
    """

    id: str
    kind: str
    title: str
    task: Mapping[str, Any]
    about: Mapping[str, Any]
    folder: Path
    state: State = "queued"
    progress: Mapping[str, Any] | None = None
    notes: list[str] = field(default_factory=list)
    result: Any = None
    error: str | None = None
    began: float = 0.0
    ended: float = 0.0
    _phase: tuple[str, float, int] = ("", 0.0, 0)

    def hear(self, message: Mapping[str, Any]) -> None:
        """Take a message of the worker."""
        if "note" in message:
            self.notes = [*self.notes[1 - _MOST_NOTES :], message["note"]]
            return
        if "early" in message:
            self.result = message["early"]
            return
        progress = message["progress"]
        if self._phase[0] != progress["title"]:
            self._phase = (progress["title"], time.monotonic(), progress["done"])
        self.progress = progress

    def seconds_left(self) -> float | None:
        """Return the time that the present step still takes, s; None: unknown."""
        if self.state != "running" or self.progress is None:
            return None
        _, since, first = self._phase
        steps: int = self.progress["done"] - first
        if steps < 1:
            return None
        left: int = max(0, self.progress["total"] - self.progress["done"])
        return (time.monotonic() - since) / steps * left

    def to_dict(self, position: int | None, *, with_result: bool = True) -> dict[str, Any]:
        """Return it ready for JSON; `position` is its place among those that wait, from 1."""
        end = self.ended or time.monotonic()
        return {
            "id": self.id,
            "kind": self.kind,
            "title": self.title,
            "about": dict(self.about),
            "state": self.state,
            "position": position,
            "progress": self.progress,
            "seconds": round(end - self.began, 2) if self.began else 0.0,
            "seconds_left": self.seconds_left(),
            "notes": self.notes,
            "error": self.error,
            "has_result": self.result is not None,
            "result": self.result if with_result else None,
        }


class JobQueue:
    """Runs jobs one after the other, in a worker process that a thread of this process talks to.

    Args:
        folder: where jobs get folders of their own.
        length: jobs that may wait, besides the one that runs.
        on_done: called with each job that is done, before its state says so.
    """

    def __init__(self, folder: Path, length: int, on_done: Callable[[Job], None]) -> None:
        self._folder, self._length, self._on_done = folder, length, on_done
        self._jobs: dict[str, Job] = {}
        self._changed = threading.Condition()
        self._worker = WorkerProcess(folder / "scratch")
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
        self._thread.start()

    def add(self, kind: str, title: str, task: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
        """Queue a job and return it ready for JSON.

        Args:
            kind, title, about: see `Job`.
            task: arguments of the task. A value `JobQueue.FOLDER` becomes the job's folder.

        Raises:
            QueueFullError: too many jobs wait.
            OutputError: there is no room for its folder.
        """
        with self._changed:
            if len(self._waiting()) >= self._length:
                raise QueueFullError(
                    f"the queue is full: {self._length} jobs wait; cancel one, or try again when one is done"
                )
            name = secrets.token_hex(8)
            folder = self._folder / name
            folder.mkdir(parents=True)
            filled = {key: str(folder) if value is self.FOLDER else value for key, value in task.items()}
            job = Job(name, kind, title, filled, about, folder)
            self._jobs[name] = job
            self._forget_old()
            self._changed.notify_all()
            return self._shown(job)

    FOLDER = object()

    def get(self, name: str) -> dict[str, Any]:
        """Return a job ready for JSON.

        Raises:
            UnknownError: there is none.
        """
        with self._changed:
            return self._shown(self._job(name))

    def all(self) -> list[dict[str, Any]]:
        """Return all jobs in the order in which they were added, without their results."""
        with self._changed:
            return [self._shown(job, with_result=False) for job in self._jobs.values()]

    def file(self, name: str, file: str) -> Path:
        """Return the path of a file of a job.

        Raises:
            UnknownError: there is no such job or file.
        """
        with self._changed:
            path = self._job(name).folder / Path(file).name
        if not path.is_file():
            raise UnknownError(f"there is no file {file[:100]!r} of this job")
        return path

    def cancel(self, name: str) -> dict[str, Any]:
        """Take a job out of the queue, or stop it; a job that has ended is forgotten.

        Raises:
            UnknownError: there is none.
        """
        with self._changed:
            job = self._job(name)
            if job.state == "queued":
                self._end(job, "cancelled")
            elif job.state == "running":
                self._worker.stop()
            else:
                self._forget(job)
            return self._shown(job)

    def uses(self, path: Path) -> bool:
        """Whether a job that waits or runs reads a file."""
        with self._changed:
            return any(
                job.task.get("path") == str(path)
                for job in self._jobs.values()
                if job.state in ("queued", "running")
            )

    def close(self) -> None:
        """Stop what runs, forget what waits, and wait for the worker's end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._worker.close()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (self._closed or self._waiting()):
                    self._changed.wait()
                if self._closed:
                    return
                job = self._waiting()[0]
                job.state, job.began = "running", time.monotonic()
            self._run(job)

    def _run(self, job: Job) -> None:
        try:
            job.result = self._worker.run({"kind": job.kind, **job.task}, job.hear)
            self._on_done(job)
            state: State = "done"
        except JobStoppedError:
            state = "cancelled"
        except HiddenTwoStreamError as error:
            job.error, state = str(error), "failed"
        except Exception as error:
            job.error, state = unexpected(error), "failed"
        with self._changed:
            self._end(job, state)

    def _end(self, job: Job, state: State) -> None:
        job.state, job.ended = state, time.monotonic()

    def _waiting(self) -> list[Job]:
        return [job for job in self._jobs.values() if job.state == "queued"]

    def _job(self, name: str) -> Job:
        if name not in self._jobs:
            raise UnknownError("there is no such job; it was removed, or the application was started again")
        return self._jobs[name]

    def _shown(self, job: Job, *, with_result: bool = True) -> dict[str, Any]:
        waiting = self._waiting()
        position = waiting.index(job) + 1 if job in waiting else None
        return job.to_dict(position, with_result=with_result)

    def _forget_old(self) -> None:
        ended = [job for job in self._jobs.values() if job.ended]
        for job in ended[: max(0, len(self._jobs) - MOST_KEPT)]:
            self._forget(job)

    def _forget(self, job: Job) -> None:
        self._jobs.pop(job.id, None)
        shutil.rmtree(job.folder, ignore_errors=True)
