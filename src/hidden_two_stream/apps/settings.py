"""The settings of the local application. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hidden_two_stream.apps.listening import ServerSettings

__all__ = ["DEFAULT_PORT", "AppSettings"]

DEFAULT_PORT = 8000
_POSITIVE = {"max_upload_mb": "MB", "max_stored_mb": "MB", "max_minutes": "minutes"}


@dataclass(frozen=True)
class AppSettings(ServerSettings):
    """Where the application listens, what it accepts, and where it keeps projects.

    Attributes:
        host: address to listen at. The default is the loopback address, which only this machine reaches.
        port: port to listen at; 0: any free one.
        max_upload_mb: largest uploaded file, MB (10⁶ bytes).
        max_stored_mb: all uploaded videos that are kept at a time, MB; they are deleted at the end.
        max_minutes: longest uploaded video, minutes.
        queue_length: jobs that may wait; one more is running.
        projects: folder of the projects, with their clips and runs. It is made with the first project.
        device: where to label videos: "cpu", "cuda" or "mps". Training chooses by itself.

    Raises:
        UsageError: a value is out of range.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    max_upload_mb: float = 500.0
    max_stored_mb: float = 4000.0
    max_minutes: float = 20.0
    queue_length: int = 8
    projects: Path = Path("hts-projects")
    device: str = "cpu"

    def __post_init__(self) -> None:
        self.require_valid(_POSITIVE, {"queue_length": "jobs"})

    @property
    def max_seconds(self) -> float:
        """Longest uploaded video, s."""
        return 60.0 * self.max_minutes
