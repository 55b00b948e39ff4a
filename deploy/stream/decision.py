"""Decision of a stream: an answer in the stream's own time, with its cost."""

from dataclasses import dataclass
from typing import Any

from tmkt.deploy.stream.costs import Cost
from tmkt.deploy.stream.windows import Answer


@dataclass(frozen=True)
class Decision:
    """One answer in the stream's own time.

    `time_us`: end of the last bin that it rests on. `host_us`: time that this host took from having
    that bin's events to the answer.
    """

    number: int
    answer: Answer
    time_us: int
    window_us: tuple[int, int]
    best: str
    margin: float
    cost: Cost | None
    host_us: float

    @property
    def decided(self) -> str | None:
        """The class; None where the rule is not met."""
        return self.best if self.answer.confident else None

    @property
    def bins(self) -> int:
        """The number of bins in the window."""
        return self.answer.last - self.answer.begin + 1

    def to_json(self, times: bool = True) -> dict[str, Any]:
        """Return a line of the output. Only what is under "times" depends on this host."""
        chip_us = energy_j = None
        if self.cost is not None:
            energy_j = {name: _rounded(ends) for name, ends in self.cost.energy_j.items()}
            if self.cost.latency_us is not None:
                chip_us = _rounded(self.cost.latency_us)
        line: dict[str, Any] = {
            "decision": self.number,
            "time_us": self.time_us,
            "window_us": list(self.window_us),
            "class": self.decided,
            "best": self.best,
            "margin": round(self.margin, 6),
            "bins": self.bins,
            "events": self.answer.events,
            "chip_us": chip_us,
            "energy_j": energy_j,
        }
        if times:
            line["times"] = {"host_us": round(self.host_us, 1)}
        return line


def _rounded(ends: tuple[float, float]) -> list[float]:
    """Round to six digits: the estimates are worth less."""
    return [float(f"{end:.6g}") for end in ends]
