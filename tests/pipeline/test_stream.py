"""Live decisions: newest frames first, gaps, lost connections, pace, and bad sources."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest

from hidden_two_stream.cli.main import main
from hidden_two_stream.errors import UsageError, VideoError, VideoWarning
from hidden_two_stream.inference.predictor import Recognizer, load
from hidden_two_stream.inference.stream import StreamSettings
from hidden_two_stream.types import Decision, RawClip
from hidden_two_stream.video.newest import NewestFrames
from hidden_two_stream.video.sources.live import LiveFrame, LiveSource, Wait, live_source
from hidden_two_stream.video.writer import write_video

ALL = StreamSettings(all_frames=True)


@pytest.fixture(scope="module")
def recognizer(small_run: Path) -> Recognizer:
    return load(small_run)


def moving(num_frames: int, height: int = 48, width: int = 64) -> RawClip:
    rng = np.random.default_rng(3)
    scene = rng.integers(0, 256, (height, width + num_frames, 3), dtype=np.uint8)
    return np.stack([scene[:, t : t + width] for t in range(num_frames)])


def written(path: Path, clip: RawClip, fps: float = 200.0) -> Path:
    write_video(path, clip, fps)
    return path


def test_scores_of_a_file_are_those_of_its_windows(recognizer: Recognizer, tmp_path: Path) -> None:
    path = written(tmp_path / "a.mp4", moving(24))
    events: list[str] = []
    found = list(recognizer.stream(str(path), settings=ALL, on_event=events.append))
    with pytest.warns(VideoWarning, match="it has 200 frames per second"):
        expected = list(recognizer.windows(path, hop_seconds=1e-4))
    assert len(found) == len(expected) > 5
    for decision, window in zip(found, expected, strict=True):
        np.testing.assert_allclose(decision.scores, window.scores, atol=1e-5)
        for name, scores in window.streams.items():
            np.testing.assert_allclose(decision.streams[name], scores, atol=1e-5)
        assert decision.start_seconds == pytest.approx(window.start_seconds, abs=1e-4)
    assert [decision.num_dropped for decision in found] == [0] * len(found)
    assert [decision.frame for decision in found] == list(range(24 - len(found), 24))


def test_smoothing_is_the_mean_of_the_last_windows(recognizer: Recognizer) -> None:
    clip = moving(20)
    plain = list(recognizer.stream(clip, settings=ALL))
    smooth = list(recognizer.stream(clip, settings=StreamSettings(all_frames=True, smooth_seconds=0.0801)))
    for number in range(2, len(plain)):  # arrays have 25 frames per second: three windows
        mean = np.mean([one.scores for one in plain[number - 2 : number + 1]], axis=0)
        np.testing.assert_allclose(smooth[number].scores, mean, atol=1e-6)


def test_decisions_are_as_far_apart_as_wanted(recognizer: Recognizer) -> None:
    found = list(recognizer.stream(moving(40), settings=StreamSettings(all_frames=True, every_seconds=0.2)))
    assert np.diff([decision.end_seconds for decision in found]).min() >= 0.2 - 1e-9
    assert len(found) >= 3


def test_nothing_fits_below_the_threshold(recognizer: Recognizer) -> None:
    for threshold, known in ((0.0, True), (1.0, False)):
        settings = StreamSettings(all_frames=True, threshold=threshold)
        decision = next(recognizer.stream(moving(20), settings=settings))
        assert (decision.label is not None) is known
        assert decision.best in recognizer.classes


# -- newest first ----------------------------------------------------------------------------------


def ticking(count: int, step: float) -> LiveSource:
    """A source with a frame every `step` seconds; each frame shows its number."""

    def frames(wait: Wait) -> Iterator[LiveFrame]:
        for index in range(count):
            yield LiveFrame(
                index, index * step, False, lambda index=index: np.full((8, 8, 3), index, np.uint8)
            )  # type: ignore[misc]
            wait(step)

    return LiveSource("ticks", frames, reconnects=False)


def test_a_slow_reader_gets_the_newest_frame() -> None:
    with NewestFrames(ticking(40, 0.01)) as frames:
        ages, seen = [], []
        for frame in frames:
            ages.append(time.monotonic() - frame.arrived)
            seen.append(frame.index)
            assert frame.image[0, 0, 0] == frame.index
            time.sleep(0.06)
        assert frames.num_dropped == 40 - len(seen)
    assert len(seen) < 20
    assert seen == sorted(seen)
    assert seen[-1] == 39
    assert max(ages) < 0.05  # none of them had waited


def test_all_frames_waits_for_the_reader() -> None:
    with NewestFrames(ticking(15, 0.0), all_frames=True) as frames:
        seen = []
        for frame in frames:
            seen.append(frame.index)
            time.sleep(0.01)
    assert seen == list(range(15))
    assert frames.num_dropped == 0


def test_a_file_comes_at_its_own_pace(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mp4", moving(20), fps=25)
    with NewestFrames(live_source(str(path)), all_frames=True) as frames:
        arrived = [frame.arrived for frame in frames]
    assert len(arrived) == 20
    assert arrived[-1] - arrived[0] == pytest.approx(19 / 25, abs=0.2)


def test_leaving_the_loop_ends_the_thread(recognizer: Recognizer) -> None:
    before = threading.active_count()
    stream = recognizer.stream(moving(2000))
    assert isinstance(next(stream), Decision)
    assert threading.active_count() == before + 1
    stream.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


# -- gaps and lost connections ---------------------------------------------------------------------


class Server:
    """Serves one MPEG stream after the other over HTTP, each until it is cut."""

    def __init__(self, parts: list[bytes]) -> None:
        self.parts = parts
        self.times: list[float] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.times.append(time.monotonic())
                if not server.parts:
                    self.send_error(503)
                    return
                data = server.parts.pop(0)
                self.send_response(200 if data else 503)
                self.send_header("Content-Type", "video/mp2t")
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/live.ts"
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)

    def __enter__(self) -> Server:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()


def mpeg(clip: RawClip, start: int = 0) -> bytes:
    """An MPEG transport stream, 25 frames per second."""
    target = io.BytesIO()
    with av.open(target, "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.height, stream.width, stream.pix_fmt = *clip.shape[1:3], "yuv420p"
        for number, image in enumerate(clip):
            frame = av.VideoFrame.from_ndarray(image)
            frame.pts = start + number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return target.getvalue()


def test_a_stream_that_is_cut_comes_back(recognizer: Recognizer) -> None:
    events: list[str] = []
    clip = moving(30)
    with Server([mpeg(clip), b"", mpeg(clip, 5000)]) as server:
        stream = recognizer.stream(
            server.url,
            settings=StreamSettings(all_frames=True, give_up_seconds=3.0),
            on_event=events.append,
        )
        found = []
        with pytest.raises(VideoError, match=r"did not come back for \d+ s"):
            found.extend(decision for decision in _collected(stream, found))
    seconds = [decision.end_seconds for decision in found]
    assert seconds == sorted(seconds)
    gaps = np.diff([decision.frame for decision in found])
    assert (gaps > 1).sum() == 1  # no window holds frames of both connections
    span = found[0].frame + 1
    assert gaps.max() == span
    assert np.diff(seconds).max() > 1.0  # waits of 0.5 and 1 s, beside the time of a window
    assert any("it is opened again" in line for line in events)
    assert any("it is back after" in line for line in events)


def _collected(stream: Iterator[Decision], found: list[Decision]) -> Iterator[Decision]:
    for decision in stream:
        found.append(decision)
    return iter(())


def test_waits_between_tries_grow() -> None:
    with Server([mpeg(moving(30))]) as server:
        frames = NewestFrames(live_source(server.url), all_frames=True, give_up_seconds=4.0)
        with frames, pytest.raises(VideoError, match="did not come back"):
            for _ in frames:
                pass
        waits = np.diff(server.times)
    assert len(waits) >= 2
    assert waits[1] > 1.5 * waits[0]


def test_a_stream_that_never_was_there_fails_at_once() -> None:
    with Server([]) as server, NewestFrames(live_source(server.url)) as frames:
        start = time.monotonic()
        with pytest.raises(VideoError):
            next(iter(frames))
        assert time.monotonic() - start < 5


def test_damage_in_the_middle_is_a_gap(recognizer: Recognizer, tmp_path: Path) -> None:
    data = bytearray(mpeg(moving(60, 96, 128)))
    middle = len(data) // 2
    for packet in range(middle // 188, middle // 188 + 4):  # leave the packets' headers alone
        data[188 * packet + 20 : 188 * packet + 188] = bytes(168)
    path = tmp_path / "damaged.ts"
    path.write_bytes(data)
    with NewestFrames(live_source(str(path)), all_frames=True) as frames:
        found = list(frames)
    assert [frame.index for frame in found] == list(range(len(found)))
    assert len(found) < 60
    assert sum(frame.after_gap for frame in found) >= 1
    assert found[-1].seconds > 58 / 25  # it went on after the damage
    assert len(list(recognizer.stream(str(path), settings=ALL))) > 10


def test_a_change_of_size_is_a_gap(tmp_path: Path) -> None:
    path = tmp_path / "two.ts"
    path.write_bytes(mpeg(moving(10, 48, 64)) + mpeg(moving(10, 64, 96), 10))
    with NewestFrames(live_source(str(path)), all_frames=True) as frames:
        found = [(frame.after_gap, frame.image.shape) for frame in frames]
    assert len(found) >= 18
    assert {shape for _, shape in found} == {(48, 64, 3)}
    assert sum(gap for gap, _ in found) >= 1


# -- the command, and bad sources ------------------------------------------------------------------


def test_one_line_per_decision(small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "a.mp4", moving(20))
    assert main(["stream", str(small_run), str(path), "--all-frames"]) == 0
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["frame"] for line in lines] == list(range(20 - len(lines), 20))
    assert lines[0].keys() >= {"start_seconds", "end_seconds", "label", "score", "scores", "latency_seconds"}
    assert sum(lines[0]["scores"].values()) == pytest.approx(1, abs=1e-5)
    assert f"{len(lines)} decisions, 0 frames dropped; latency" in err


def test_raw_frames(
    small_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = moving(20)
    size = ["--frame-size", "64x48", "--fps", "25", "--all-frames"]

    def feed(data: bytes) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))

    feed(clip.tobytes())
    assert main(["stream", str(small_run), "-", *size]) == 0
    out = capsys.readouterr().out.splitlines()
    expected = list(load(small_run).stream(clip, settings=ALL))
    assert len(out) == len(expected)
    scores = [list(json.loads(line)["scores"].values()) for line in out]
    np.testing.assert_allclose(scores, [decision.scores for decision in expected], atol=1e-6)
    feed(clip.tobytes()[:-100])
    assert main(["stream", str(small_run), "-", *size]) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == len(expected) - 1  # what was computed is kept
    assert "it ended after 19 frames and 9116 bytes; a frame of 64x48 has 9216" in err
    feed(b"")
    assert main(["stream", str(small_run), "-", *size]) == 1
    assert main(["stream", str(small_run), "-"]) == 2
    assert "give --frame-size WIDTHxHEIGHT and --fps" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["7771"], 1, "camera 7771"),
        (["nowhere.mp4"], 2, "nothing found at"),
        (["-", "--frame-size", "64"], 2, "--frame-size is '64'"),
        (["-", "--frame-size", "0x5", "--fps", "25"], 2, "expected at least 1x1"),
        (["-", "--frame-size", "64x48", "--fps", "0"], 2, "the rate is 0"),
        (["a.mp4", "--every", "-1"], 2, "every_seconds is -1.0"),
        (["a.mp4", "--smooth", "nan"], 2, "smooth_seconds is nan"),
        (["a.mp4", "--threshold", "2"], 2, "the threshold is 2.0"),
        (["a.mp4", "--seconds", "0"], 2, "--seconds is 0"),
    ],
)
def test_a_clear_line_for_bad_sources(
    small_run: Path, arguments: list[str], code: int, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stream", str(small_run), *arguments]) == code
    error = capsys.readouterr().err
    assert named in error
    assert "no decision" not in error


def test_a_text_file_is_not_a_video(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "text.mp4"
    path.write_text("this is not a video", encoding="utf-8")
    assert main(["stream", str(small_run), str(path)]) == 1
    assert "cannot read video" in capsys.readouterr().err


def test_files_have_their_own_size() -> None:
    with pytest.raises(UsageError, match="has its own frame size and rate"):
        live_source("a.mp4", fps=3)


def test_repetitions_are_counted_once(example_script: Callable[[str], ModuleType]) -> None:
    script = example_script("count_repetitions")
    scores = (0.1, 0.8, 0.6, 0.75, 0.3, 0.5, 0.9, 0.2, 0.69)

    def decisions() -> Iterator[Decision]:
        for number, score in enumerate(scores):
            values = np.array([score, 1 - score], np.float32)
            yield Decision(number, number + 1.0, number, ("clap", "rest"), values, {}, None, 0.0, 0)

    assert list(script.repetitions(decisions(), "clap", 0.7, 0.4)) == [2.0, 7.0]
