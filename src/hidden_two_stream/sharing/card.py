"""The model card, README.md: what a model recognizes, how well, on which data, and what it cannot do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from hidden_two_stream.reports.run_card import RunCard
from hidden_two_stream.sharing.card_text import (
    STREAM_NAMES,
    escaped,
    joined,
    table,
    times,
)
from hidden_two_stream.sharing.limits import limits
from hidden_two_stream.sharing.picture import FlowPicture
from hidden_two_stream.sharing.scores import model_index, score_sections

__all__ = ["PICTURE_FILE", "CardFacts", "model_card"]

PICTURE_FILE = "flow.png"
_LIBRARY = "hidden-two-stream"
_PAPER = "https://arxiv.org/abs/1704.00389"
_TAGS = ("action-recognition", "video", "optical-flow", "two-stream", _LIBRARY)
_SHOWN = 6


@dataclass(frozen=True)
class CardFacts:
    """What a model card says.

    Attributes:
        card: the run, with its public description and results.
        repository: "user/name".
        title: heading.
        license: identifier of the hub, such as "apache-2.0"; None: not given.
        picture: the flow picture; None: none.
        own_picture: whether the picture is of a video that the author chose.
        num_bytes: size of the weights.
    """

    card: RunCard
    repository: str
    title: str
    license: str | None = None
    picture: FlowPicture | None = None
    own_picture: bool = False
    num_bytes: int = 0


def model_card(facts: CardFacts) -> str:
    """Return the text of README.md: YAML front matter, and Markdown."""
    sections = [
        _introduction(facts),
        _picture(facts),
        _use(facts),
        *score_sections(facts.card),
        _data(facts),
        "\n".join(["## Limits", "", *(f"- {line}" for line in limits(facts.card))]),
        _networks(facts),
        _source(facts),
    ]
    return _front_matter(facts) + "\n" + "\n\n".join(text for text in sections if text) + "\n"


def _front_matter(facts: CardFacts) -> str:
    """Return the YAML that the hub reads: license, tags, task, and the scores."""
    kind = "behavior-annotation" if facts.card.kind == "frame labels" else None
    data: dict[str, Any] = {} if facts.license is None else {"license": facts.license}
    data |= {
        "library_name": _LIBRARY,
        "pipeline_tag": "video-classification",
        "tags": [*_TAGS, *([kind] if kind else [])],
    }
    bases = [place.partition("@")[0] for place in facts.card.metadata.warm_start.values() if "/" in place]
    if bases:
        data["base_model"] = sorted(set(bases))
    index = model_index(facts.card, facts.title)
    if index is not None:
        data["model-index"] = [index]
    return f"---\n{yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)}---\n"


def _introduction(facts: CardFacts) -> str:
    card = facts.card
    names = joined([f"*{escaped(name)}*" for name in card.classes[:_SHOWN]], len(card.classes) - _SHOWN)
    if card.kind == "frame labels":
        what = f"Labels each frame of a video with {times(len(card.classes), 'behavior')}: {names}."
    elif card.kind == "motion network":
        what = "Estimates the motion between the frames of a video (optical flow), learned without labels."
    else:
        what = f"Recognizes {times(len(card.classes), 'action')} in video: {names}."
    return f"# {escaped(facts.title)}\n\n{what} {_how(card)}"


def _how(card: RunCard) -> str:
    """Return how it works, in a sentence or two."""
    motion = (
        "A network inside the model estimates the motion between frames, so no optical flow is computed or "
        "stored beforehand"
    )
    if card.kind == "motion network":
        return "It takes raw video."
    if card.streams == ("spatial",):
        return "It looks at single frames, not at motion."
    if card.streams == ("temporal",):
        return f"It works on raw video and looks at motion only. {motion}."
    return f"It works on raw video, by appearance and by motion. {motion}."


def _picture(facts: CardFacts) -> str:
    picture = facts.picture
    if picture is None:
        return ""
    if facts.own_picture:
        text = "A frame, and the motion that the model sees in it. The color is the direction (see the wheel)"
        return f"![A frame and its motion]({PICTURE_FILE})\n\n*{text}, its strength the speed.*"
    text = (
        "A generated scene, the motion that the model sees in it, and the exact motion. The color is the "
        "direction (see the wheel), its strength the speed"
    )
    if picture.error_px is not None:
        text += (
            f'. Here the mean error is {picture.error_px:.2f} px per frame; that of "no motion" is '
            f"{picture.zero_error_px:.2f} px"
        )
    return f"![A frame, its estimated and its exact motion]({PICTURE_FILE})\n\n*{text}.*"


def _use(facts: CardFacts) -> str:
    name, card = facts.repository, facts.card
    if card.kind == "frame labels":
        load, use, command = "load_annotator", 'annotate("video.mp4")', "annotate"
    elif card.kind == "motion network":
        load, use, command = "load", 'flow("video.mp4")', "flow"
    else:
        load, use, command = "load", 'predict("video.mp4")', "predict"
    return f"""## Use

```
pip install "{_LIBRARY}[hub]"
hts {command} {name} video.mp4
```

```python
import hidden_two_stream as hts

model = hts.{load}("{name}")  # or "{name}@COMMIT", for exactly these weights
print(model.{use})
```"""


def _data(facts: CardFacts) -> str:
    """Return what it was trained on."""
    card, metadata = facts.card, facts.card.metadata
    rows = list(_data_rows(card))
    lines = ["## Training data", "", table(("", ""), rows)]
    if metadata.warm_start:
        parts = [f"{part} stream of {place}" for part, place in metadata.warm_start.items()]
        lines += ["", f"Began with parts of other runs: {'; '.join(map(escaped, parts))}."]
    return "\n".join(lines)


def _data_rows(card: RunCard) -> Iterator[tuple[str, str]]:
    metadata = card.metadata
    yield "data", escaped(metadata.data or "unknown")
    yield "license of the data", escaped(metadata.data_license or "not given")
    counts = [(card.num_train, "to train"), (card.num_test, "to test")]
    yield (
        "videos",
        ", ".join(f"{number:,} {what}" for number, what in counts if number is not None) or "unknown",
    )
    if metadata.split:
        yield "division", escaped(metadata.split)
    rates = dict.fromkeys(f"{rate:.4g}" for rate in (metadata.min_fps, metadata.max_fps) if rate)
    if rates:
        yield "frame rates", f"{' to '.join(rates)} frames per second"


def _networks(facts: CardFacts) -> str:
    """Return the networks, their training, and the versions, as a table."""
    card = facts.card
    recipe, metadata = card.recipe, card.metadata
    size, model = recipe.input.size, recipe.model
    streams = joined([STREAM_NAMES[name] for name in card.streams]) or "none"
    rows = [
        ("input", f"{model.num_frames} frames" + (f" of {size} × {size} px" if size else "")),
        ("streams", streams),
        ("motion network", escaped(model.motion)),
        ("form of the temporal stream", escaped(model.temporal)),
        ("backbone", escaped(model.backbone)),
        *((f"parameters, {name}", f"{part.parameters:,}") for name, part in card.parts.items()),
        ("weights", f"{facts.num_bytes / 1e6:.1f} MB, safetensors"),
        ("stages trained", joined(list(metadata.stages)) or "none"),
        ("began with", _origins(metadata.motion_init, metadata.temporal_init)),
        ("seed", str(metadata.seed)),
        ("versions", ", ".join(f"{name} {version}" for name, version in metadata.versions.items())),
    ]
    left_out = () if "temporal" in card.streams else ("form of the temporal stream",)
    shown = [(name, text) for name, text in rows if text and name not in left_out]
    return "## Networks and training\n\n" + table(("", ""), shown)


def _origins(*origins: Mapping[str, Any] | None) -> str:
    parts = zip(("MotionNet", "temporal stream"), origins, strict=True)
    texts = [f"{part}: {origin.get('source')} weights" for part, origin in parts if origin]
    return escaped("; ".join(texts)) or "random weights"


def _source(facts: CardFacts) -> str:
    given = (
        f"License of this model: {escaped(facts.license)}."
        if facts.license
        else ("The author gave no license for this model: ask before you use it for more than a look.")
    )
    return (
        "## Source\n\n"
        f"After [Hidden Two-Stream Convolutional Networks for Action Recognition]({_PAPER}) (Zhu, Lan, "
        f"Newsam and Hauptmann, 2017). {given} This card was written by `hts push` from the files of the run."
    )
