"""The settings of the HTTP service. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field

from hidden_two_stream.apps.listening import ServerSettings
from hidden_two_stream.apps.service.allowed import AllowedUrls
from hidden_two_stream.apps.service.keys import require_key
from hidden_two_stream.errors import UsageError

__all__ = ["DEFAULT_SERVICE_PORT", "LONGEST_WAIT_MS", "ServeSettings"]

DEFAULT_SERVICE_PORT = 8080
LONGEST_WAIT_MS = 1000
_MOST_WORKERS = 256

_POSITIVE = {
    "max_upload_mb": "MB",
    "max_stored_mb": "MB",
    "upload_seconds": "seconds",
    "decode_seconds": "seconds",
    "timeout_seconds": "seconds",
    "drain_seconds": "seconds",
}
_COUNTS = {"max_requests": "requests", "max_batch": "clips"}


@dataclass(frozen=True)
class ServeSettings(ServerSettings):
    """Where the service listens, how it computes, what it accepts, and from whom.

    Attributes:
        host: address to listen at. The default is the loopback address, which only this machine reaches.
        port: port to listen at; 0: any free one.
        workers: processes that decode videos; 0: one per core, at most 8.
        protocol: test protocol of all predictions, see `Recognizer.predict`.
        threshold: the fused score below which no class fits, unless a request gives one; None: the run's
            calibration decides.
        device: where the networks compute: "cpu", "cuda" or "mps".
        max_batch: clips, which are windows times crops, that the networks get at a time. A video with more
            clips is a batch of its own.
        max_wait_ms: how long a video waits for others to share its batch if the networks are idle, ms.
        max_upload_mb: largest video, MB (10⁶ bytes).
        max_stored_mb: all videos that are on disk at a time, MB.
        max_requests: requests for predictions that are in progress at a time; others are told to come back.
        upload_seconds: how long the upload or download of a video may take, s.
        decode_seconds: how long decoding a video may take, s.
        timeout_seconds: time between the end of the upload and the answer, s.
        drain_seconds: how long requests in progress may take when the service is ended, s.
        allow_urls: beginnings of URLs that may be downloaded, such as "https://example.org/videos/"; a
            request may then name a URL in place of a video.
        allow_networks: networks of private addresses that the names in `allow_urls` may lead to, such as
            "10.0.0.0/8".
        allow_hosts: names that this service answers to, besides the machine's own and IP addresses; a proxy
            may pass on the name that its clients use.
        api_keys: each request for a prediction must bring one of them; none: anyone may ask.

    Raises:
        UsageError: a value is out of range.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_SERVICE_PORT
    workers: int = 0
    protocol: str = "10x1"
    threshold: float | None = None
    device: str = "cpu"
    max_batch: int = 64
    max_wait_ms: float = 5.0
    max_upload_mb: float = 100.0
    max_stored_mb: float = 2000.0
    max_requests: int = 64
    upload_seconds: float = 60.0
    decode_seconds: float = 20.0
    timeout_seconds: float = 60.0
    drain_seconds: float = 30.0
    allow_urls: tuple[str, ...] = ()
    allow_networks: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    api_keys: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        self.require_valid(_POSITIVE, _COUNTS)
        if not 0 <= self.workers <= _MOST_WORKERS:
            raise UsageError(
                f"workers is {self.workers}; expected 1 to {_MOST_WORKERS}, or 0 (one per core, at most 8)"
            )
        if not 0 <= self.max_wait_ms <= LONGEST_WAIT_MS:
            raise UsageError(f"max_wait_ms is {self.max_wait_ms}; expected 0 to {LONGEST_WAIT_MS} ms")
        for key in self.api_keys:
            require_key(key, "api_keys")
        _ = self.urls  # checks them
        if self.allow_networks and not self.allow_urls:
            raise UsageError("allow_networks has no effect without allow_urls; leave it out, or give both")

    @property
    def urls(self) -> AllowedUrls:
        """The URLs that may be downloaded.

        Raises:
            UsageError: an entry of `allow_urls` or `allow_networks` is wrong.
        """
        return AllowedUrls.of(self.allow_urls, self.allow_networks)
