"""The rule that `tmkt stream` decides by: its options, and what is chosen on recordings."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tmkt import console
from tmkt.cli.options import DataOption
from tmkt.cli.steps import choose_recordings
from tmkt.errors import InputError

if TYPE_CHECKING:
    from tmkt.bundle import Bundle
    from tmkt.deploy.stream.rule import Rule

AUTO = "auto"


@dataclass(frozen=True)
class RuleOptions:
    """Rule that makes a read-out a decision."""

    margin: Annotated[
        str | None,
        typer.Option(
            "--margin",
            help="Lead over the second class that decides; auto: chosen on --data [none].",
            show_default=False,
        ),
    ] = None
    hold: Annotated[int, typer.Option("--hold", min=1, help="For so many bins in a row.")] = 1
    min_events: Annotated[
        str,
        typer.Option(
            "--min-events",
            help="With fewer events in a window nothing is decided; auto: chosen on --data.",
        ),
    ] = "1"
    reject_below: Annotated[
        str | None,
        typer.Option(
            "--reject-below",
            help=(
                "With a lower read-out of the best class nothing is decided, as for things of no"
                " class; auto: chosen on --data [none]."
            ),
            show_default=False,
        ),
    ] = None
    data: DataOption = None
    accuracy: Annotated[
        float,
        typer.Option(
            "--accuracy",
            min=0.0,
            max=1.0,
            help="What --margin auto reaches on the recordings of the train split.",
        ),
    ] = 0.99

    def rule(self, bundle: "Bundle", window: int | None) -> "Rule":
        """Make the rule; what is auto is chosen on the recordings of the train split."""
        from tmkt.deploy.stream.calibrate import (
            KEPT,
            choose_margin,
            choose_min_events,
            choose_reject_below,
            windows_around,
        )
        from tmkt.deploy.stream.rule import Rule

        margin = None
        if self.margin not in (None, AUTO):
            margin = _number("--margin", self.margin, float)
        min_events = 1
        if self.min_events != AUTO:
            min_events = int(_number("--min-events", self.min_events, int))
        reject_below = None
        if self.reject_below not in (None, AUTO):
            reject_below = _number("--reject-below", self.reject_below, float)
        if AUTO in (self.margin, self.min_events, self.reject_below):
            frames, labels = _load_trained_on(bundle, self.data, window)
            if self.margin == AUTO:
                windows = windows_around(frames, labels)
                chosen = choose_margin(
                    bundle.program, *windows, self.accuracy, self.hold, bundle.nothing
                )
                margin = chosen.margin
                console.note(
                    f"Margin {chosen.margin:.3g}: of {len(windows[0])} windows around the"
                    f" {len(frames)} recordings trained on (or calibrated on)"
                    f" {console.percent(chosen.decided)} decided, of these"
                    f" {console.percent(chosen.accuracy)} right; new ones are right less often"
                )
            if self.min_events == AUTO:
                min_events = choose_min_events(frames)
                console.note(
                    f"At least {min_events} events: half of the fewest in a recording trained on"
                    " (or calibrated on)"
                )
            if self.reject_below == AUTO:
                reject_below = choose_reject_below(bundle.program, frames)
                console.note(
                    f"Rejected below a read-out of {reject_below:.3g}: {KEPT:.0%} of the"
                    " recordings trained on (or calibrated on) reach it; new ones reach it less"
                    " often"
                )
        return Rule(margin, self.hold, min_events, reject_below=reject_below)


def _number(option: str, text: str | None, kind: type[int] | type[float]) -> float:
    try:
        value = kind(text or "")
    except ValueError:
        value = -1
    in_range = 0 <= value < 1e9
    whole_from_one = kind is float or value >= 1
    if not (in_range and whole_from_one):
        raise InputError(
            f"{option} {text!r}: expected"
            f" {'a whole number from 1' if kind is int else 'a number from 0'}, or {AUTO}"
        )
    return value


def _load_trained_on(bundle: "Bundle", data: Path | None, window: int | None) -> tuple[Any, Any]:
    """Load frames, cut to the window, and labels of the train split: the recordings that the
    bundle's network was trained or calibrated on.
    """
    from tmkt.datasets.reading import load_frames

    frames, labels = load_frames(
        choose_recordings(bundle, data, "train", None, "stream"), bundle.contract
    )
    return frames[:, :window], labels
