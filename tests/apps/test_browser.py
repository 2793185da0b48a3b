"""The panels of the application in a browser: what a person does, and what they see."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from hidden_two_stream.checkpoint import save_run

from ..browser import OpenPage, open_page
from ..export.runs import make_run
from .conftest import TINY_TRAINING
from .serve import served
from .test_uploads import write_slow_video

Hts = Callable[..., tuple[int, str, str]]
Make = Callable[..., Starlette]

CHOOSE = "#panel-videos input[type=file] >> nth=0"
LONG = 120_000  # ms; a worker starts, on a busy machine


@pytest.fixture
def opened(application: Make) -> Callable[..., Any]:
    """Opens the page of an application."""

    @contextmanager
    def go(*runs: Path, page: dict[str, Any] | None = None, **settings: Any) -> Iterator[OpenPage]:
        with served(application(*runs, **settings)) as address, open_page(address, **(page or {})) as found:
            found.page.wait_for_selector("#panel-videos:not([hidden])")
            yield found

    return go


def refused(page: Any, name: str) -> str:
    """Return what the page says about a file that it did not take."""
    card = page.locator(".refused", has_text=name)
    card.wait_for(timeout=LONG)
    text: str = card.locator(".bad").inner_text()
    return text


def only_refusals(errors: list[str], number: int) -> bool:
    """Whether the browser reports no error but answers with a status of 400 or more."""
    return len(errors) == number and all("Failed to load resource" in error for error in errors)


def test_a_clip_in_labels_out(opened: Callable[..., Any], data_root: Path, videos: Path) -> None:
    clip = data_root / "clips" / "v_BaseballPitch_g01_c01.avi"
    with opened() as found:
        page = found.page
        assert page.evaluate("crossOriginIsolated")
        page.set_input_files(CHOOSE, clip)
        page.wait_for_selector(".result .answer", timeout=LONG)
        best = page.inner_text(".result .bars li:first-child .name")
        assert best in page.inner_text(".answer-block")
        assert page.locator(".result .bars li").count() == 5
        assert page.locator(".result .bars li:first-child .thin").count() == 2  # one for each stream
        assert page.locator(".curves polyline").count() == 4
        page.wait_for_function("document.querySelector('.motion video')?.readyState >= 2", timeout=LONG)
        length = page.evaluate("document.querySelector('.motion video').duration")
        assert 2 < length < 6
        page.fill(".time-slider", "1.48")
        page.wait_for_function("Math.abs(document.querySelector('.motion video').currentTime - 1.48) < 0.02")
        assert page.inner_text(".time-now").startswith("1.5 s of")

        page.select_option('select[aria-label="Class to explain"]', "up")
        page.click("text=Why?")
        page.wait_for_selector(".why-pictures img", timeout=LONG)
        assert page.locator(".why-window").count() == 6
        assert page.locator(".drops li.strongest").count() == 1
        assert "“up”" in page.inner_text(".explanation")

        page.reload()  # results stay
        page.wait_for_selector(".result .answer", timeout=LONG)
        assert page.inner_text(".video-card h3") == clip.name
        page.click("text=Remove")
        page.wait_for_selector(".video-card", state="detached")
        assert found.errors == []
        assert found.other_hosts() == []


def test_bad_files_get_a_message_and_good_ones_go_on(
    opened: Callable[..., Any], videos: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.mp4").write_text("These are notes.\n" * 100)
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "large.mp4").write_bytes(b"\0" * 300_000)
    write_slow_video(tmp_path / "film.mkv", 7200, 73)
    names = ["notes.mp4", "empty.mp4", "large.mp4", "film.mkv"]
    with opened(max_upload_mb=0.25) as found:
        page = found.page
        page.set_input_files(CHOOSE, [*(tmp_path / name for name in names), videos / "up-0.mp4"])
        assert "it is not a video" in refused(page, "notes.mp4")
        assert "the file is empty (0 bytes)" in refused(page, "empty.mp4")
        assert "is larger than 0.25 MB" in refused(page, "large.mp4")
        assert "it is 2 h long; expected at most 20 min" in refused(page, "film.mkv")
        page.wait_for_selector(".result .answer", timeout=LONG)
        page.locator(".refused", has_text="empty.mp4").get_by_role("button", name="Dismiss").click()
        assert page.locator(".refused").count() == 3
        assert only_refusals(found.errors, 3)  # the large one was never sent


def test_two_videos_at_once_wait_in_line_and_one_is_cancelled(
    opened: Callable[..., Any], videos: Path
) -> None:
    with opened() as found:
        page = found.page
        page.set_input_files(CHOOSE, [videos / "up-0.mp4", videos / "up-1.mp4", videos / "up-2.mp4"])
        second = page.locator(".video-card", has_text="up-1.mp4")
        second.get_by_text("Waiting: next in line").wait_for(timeout=LONG)
        card = page.locator(".video-card", has_text="up-2.mp4")
        card.get_by_text("Waiting: number 2 in line").wait_for(timeout=LONG)
        card.get_by_role("button", name="Cancel").click()
        card.get_by_text("Cancelled.").wait_for()
        for name in ("up-0.mp4", "up-1.mp4"):
            page.locator(".video-card", has_text=name).locator(".answer").wait_for(timeout=LONG)
        card.get_by_role("button", name="Label again").click()
        card.locator(".answer").wait_for(timeout=LONG)
        assert found.errors == []


def test_two_runs_are_compared(
    opened: Callable[..., Any], run_folder: Path, videos: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    save_run(other, *make_run(streams=("temporal",)))
    with opened(run_folder, other) as found:
        page = found.page
        page.click("#tab-compare")
        page.set_input_files("#panel-compare input[type=file]", videos / "left-2.mp4")
        page.wait_for_function("document.querySelector('#panel-compare select').value !== ''", timeout=LONG)
        page.get_by_role("button", name="Compare", exact=True).click()
        page.wait_for_function("document.querySelector('.verdict').textContent !== ''", timeout=LONG)
        sides = [
            side.locator(".bars li").first.locator(".thin").count()
            for side in page.locator(".sides section").all()
        ]
        assert sides == [2, 1]
        verdict = page.inner_text(".verdict")
        assert verdict.startswith(("Both say", "They disagree"))
        answers = page.locator(".sides .answer").all_inner_texts()
        assert (answers[0] == answers[1]) is verdict.startswith("Both say")
        assert found.errors == []


def test_training_from_the_page_ends_in_a_run_that_predict_uses(
    opened: Callable[..., Any], videos: Path, tmp_path: Path, hts: Hts
) -> None:
    with opened() as found:
        page = found.page
        page.click("#tab-train")
        page.fill('input[aria-label="Name of a new project"]', "My gestures")
        page.click("text=New project")
        train = page.get_by_role("button", name="Train", exact=True)
        for label in ("left", "up"):
            assert train.is_disabled()
            page.fill('input[aria-label="Name of a new class"]', label)
            page.click("text=Add class")
            card = page.locator(f'section[aria-label="Class {label}"]')
            clips = [videos / f"{label}-{seed}.mp4" for seed in range(3)]
            card.locator("input[type=file]").set_input_files(clips)
            card.get_by_text("3 clips").wait_for(timeout=LONG)

        page.set_input_files('input[aria-label="Add a video to mark"]', videos / "up-3.mp4")
        page.wait_for_selector(".marking:not([hidden])", timeout=LONG)
        page.fill('input[aria-label="End, seconds"]', "9")
        page.select_option('select[aria-label="Movement"]', "up")
        page.click("text=Add this part")
        page.get_by_text("expected a start before the end, within the 1.2 s").wait_for()
        page.fill('input[aria-label="End, seconds"]', "1.1")
        page.click("text=Add this part")
        page.get_by_text("up · 0.00 to 1.10 s").wait_for()
        page.get_by_text("3 clips, 1 marked part").wait_for()

        page.click("summary")
        page.fill("#panel-train textarea", "temporal.stepz=3")
        train.click()
        page.locator("#panel-train .bad", has_text="stepz").wait_for()
        page.fill("#panel-train textarea", "\n".join(TINY_TRAINING))
        train.click()
        page.wait_for_selector(".trained", timeout=LONG)
        assert "“My gestures 1” is ready" in page.inner_text(".trained")
        assert "of 2 held-out clips are right" in page.inner_text(".trained")

        page.click("text=Try it on a video")  # the list of runs offers it
        chosen = page.locator('#panel-videos select[aria-label="Recognizer"]')
        assert chosen.locator("option:checked").inner_text().startswith("My gestures 1")
        page.set_input_files(CHOOSE, videos / "left-3.mp4")
        page.wait_for_selector(".result .answer", timeout=LONG)
        shown = page.inner_text(".result .bars li:first-child .name")
        assert only_refusals(found.errors, 2)
    run = next((tmp_path / "projects").glob("*/runs/1"))
    code, printed, _ = hts("predict", run, videos / "left-3.mp4", "--json")
    assert code == 0
    assert json.loads(printed)["predictions"][0]["best"] == shown


def test_a_format_that_the_browser_cannot_play_is_shown_all_the_same(
    opened: Callable[..., Any], data_root: Path
) -> None:
    with opened() as found:
        page = found.page
        page.click("#tab-train")
        page.fill('input[aria-label="Name of a new project"]', "p")
        page.click("text=New project")
        clip = data_root / "clips" / "v_BaseballPitch_g01_c01.avi"
        page.set_input_files('input[aria-label="Add a video to mark"]', clip)
        page.wait_for_function(
            "document.querySelector('.marking video')?.src.endsWith('.webm')"
            " && document.querySelector('.marking video').readyState >= 2",
            timeout=LONG,
        )
        page.evaluate("document.querySelector('.marking video').currentTime = 1.5")
        page.focus(".marking video")
        page.keyboard.press("o")
        assert page.input_value('input[aria-label="End, seconds"]') == "1.50"


def test_without_a_run_the_page_says_what_to_do(application: Make, tmp_path: Path) -> None:
    from hidden_two_stream.apps.application import create_app
    from hidden_two_stream.apps.settings import AppSettings

    server = create_app((), AppSettings(projects=tmp_path / "projects"))
    with served(server) as address, open_page(address) as found:
        found.page.get_by_text("There is no recognizer yet").wait_for()
        assert found.page.locator(CHOOSE).is_hidden()
        found.page.click("#tab-train")
        assert found.page.get_by_role("button", name="New project").is_visible()
        assert found.errors == []


def test_light_and_dark_from_the_desk_to_the_phone(opened: Callable[..., Any], videos: Path) -> None:
    with opened(page={"dark": True}) as found:
        page = found.page
        page.set_input_files(CHOOSE, videos / "up-0.mp4")
        page.wait_for_selector(".result .answer", timeout=LONG)
        assert brightness(page) < 128
        page.emulate_media(color_scheme="light")
        assert brightness(page) > 128
        for width in (1280, 768, 390, 320):
            page.set_viewport_size({"width": width, "height": 800})
            for tab in ("videos", "compare", "train"):
                page.click(f"#tab-{tab}")
                assert page.evaluate("document.documentElement.scrollWidth") <= width, (width, tab)


def brightness(page: Any) -> float:
    """Mean of the background's red, green and blue, 0 to 255."""
    color: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(map(int, color[4:-1].split(","))) / 3


def test_the_keyboard_reaches_everything(opened: Callable[..., Any], videos: Path) -> None:
    with opened() as found:
        page = found.page
        page.set_input_files(CHOOSE, videos / "up-0.mp4")
        page.wait_for_selector(".result .why", timeout=LONG)
        page.focus("#tab-videos")
        seen: list[str] = []
        while len(seen) < 40 and "Why?" not in seen:
            page.keyboard.press("Tab")
            seen.append(
                page.evaluate("document.activeElement.ariaLabel || document.activeElement.textContent")
            )
            is_visible = page.evaluate("getComputedStyle(document.activeElement).outlineStyle !== 'none'")
            assert is_visible or page.evaluate("document.activeElement.tagName === 'VIDEO'"), seen[-1]
        expected = {
            "Choose videos",
            "Choose a folder",
            "Recognizer",
            "How thoroughly",
            "Label again",
            "Remove",
        }
        expected |= {"Time in the video", "Class to explain", "Why?"}
        assert expected - set(seen) == set()
        unnamed = page.evaluate(
            "[...document.querySelectorAll('button, input, select, textarea, video')].filter("
            "(each) => !(each.ariaLabel || each.textContent.trim() || each.labels?.length))"
            ".map((each) => each.outerHTML)"
        )
        assert unnamed == []


def test_a_clip_is_recorded_with_the_camera(opened: Callable[..., Any]) -> None:
    camera = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with opened(page={"args": camera}) as found:
        page = found.page
        page.click("#tab-train")
        page.fill('input[aria-label="Name of a new project"]', "p")
        page.click("text=New project")
        page.fill('input[aria-label="Name of a new class"]', "wave")
        page.click("text=Add class")
        record = page.get_by_role("button", name="Record a clip of wave")
        assert record.count() == 0  # hidden without the camera
        page.click("text=Use the camera")
        record.click()
        page.get_by_text("1 clip", exact=True).wait_for(timeout=LONG)
        name = page.inner_text(".class-card .clips .name")
        assert name.startswith("camera ")
        assert name.endswith(("1 s", "2 s"))  # a busy machine drops the first frames
        page.click("text=Stop the camera")
        record.wait_for(state="hidden")
        assert found.errors == []
