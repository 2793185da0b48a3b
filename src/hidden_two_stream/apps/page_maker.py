"""Makes the page that recognizes inside the browser, in the background: the server starts without it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from hidden_two_stream.apps.worker_process import JobStoppedError, WorkerProcess
from hidden_two_stream.errors import HiddenTwoStreamError, unexpected

__all__ = ["PageMaker"]


class PageMaker:
    """Exports a page in a worker process of its own.

    Args:
        folder: the folder of the page; it does not exist yet.

    Attributes:
        folder: the folder of the page; None: it is not made yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder: Path | None = None
        self._target = folder
        self._problem: str | None = None
        self._worker = WorkerProcess(folder.with_name("scratch"), grace_seconds=2.0)
        self._thread: threading.Thread | None = None

    def make(self, run: str | None) -> None:
        """Begin to export the page of a run; None: a page that can only be taught."""
        self._thread = threading.Thread(target=self._work, args=(run,), name="page", daemon=True)
        self._thread.start()

    def to_dict(self) -> dict[str, Any]:
        """Return what the browser needs to know, ready for JSON."""
        is_asked = self._thread is not None
        return {
            "ready": self.folder is not None,
            "preparing": is_asked and self.folder is None and self._problem is None,
            "problem": self._problem,
        }

    def close(self) -> None:
        """Stop, and wait for the end."""
        self._worker.close()
        if self._thread is not None:
            self._thread.join()

    def _work(self, run: str | None) -> None:
        try:
            task = {"kind": "page", "run": run, "folder": str(self._target), "title": None, "gently": True}
            self._worker.run(task, lambda _: None)
            self.folder = self._target
        except JobStoppedError:
            pass
        except HiddenTwoStreamError as error:
            self._problem = str(error)
        except Exception as error:
            self._problem = unexpected(error)
        finally:
            if self._problem is not None or self.folder is not None:
                self._worker.close()  # it is not needed any more, and holds memory
