"""Part of the recordings that a proposed recipe's bins leave out."""

from collections.abc import Sequence

from tmkt.console import percent
from tmkt.datasets.reading import count_with_extent
from tmkt.datasets.types import Recording
from tmkt.events.coverage import Extent, coverage_of
from tmkt.events.frames import InputContract
from tmkt.events.types import View
from tmkt.proposal.proposal import Chosen
from tmkt.proposal.survey import RecordingFacts
from tmkt.readers.camera_file import find_camera


def describe_covered(recordings: Sequence[RecordingFacts], chosen: Chosen) -> str | None:
    """Say how much of the recordings the bins leave out; None where they cover all.

    Only recordings that are longer than the bins are read again.
    """
    binning = chosen.binning
    if not binning.left_out:
        return None
    contract = InputContract(chosen.input.size, binning.bins, binning.bin_us, 1)
    extents = [_extent(recording, chosen, contract) for recording in recordings]
    coverage = coverage_of(extents, contract)
    return (
        f"{binning.left_out} of {len(recordings)} are longer than the bins, which leave out up to"
        f" {percent(coverage.events_worst)} of the events and {percent(coverage.time_worst)} of the"
        " time of a recording: cut these into pieces to use all of them"
    )


def _extent(recording: RecordingFacts, chosen: Chosen, contract: InputContract) -> Extent:
    events, duration = recording.statistics.events, recording.duration_us
    if duration < chosen.binning.span_us:
        return Extent(events, 0, duration)
    said = find_camera(recording.path)
    view = View(chosen.camera.size)
    known = Recording(
        recording.path,
        0,
        instance=recording.instance,
        view=view,
        span_us=None,
        columns=said.columns,
        time_unit=said.time_unit,
    )
    return count_with_extent(known, contract)[1]
