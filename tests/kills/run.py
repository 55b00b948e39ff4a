"""Kill what writes files, at every file operation and at random times, and look at what is left.

    python tests/kills/run.py --kills 300 --seed 0

Each scenario (a training, a search, an export, ...) runs in a fork of this process, which ends by
SIGKILL; the same call then goes on in another. At its end the folder must hold the same bytes as
without kills, and nothing else. Exit code 1 if one does not.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scenarios import SCENARIOS, Scenario, prepare

EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND
LONGEST_S = 120.0
PAUSE_S = 0.003  # most time between a file operation and a kill that follows it


@dataclass(frozen=True)
class Kill:
    """When a process is killed: at its `operation`-th file operation, `after_s` later or before it;
    without operations (0) at `after_s`.
    """

    operation: int
    after_s: float = 0.0

    def __str__(self) -> str:
        if not self.operation:
            return f"after {self.after_s:.3f} s"
        late = f" + {1000 * self.after_s:.2f} ms" if self.after_s else ""
        return f"at operation {self.operation}{late}"


@dataclass(frozen=True)
class Ending:
    """The end of a process: killed, with an error, or well; after so many file operations."""

    killed: bool
    error: str
    operations: int
    elapsed_s: float


def run_child(work: Callable[[], None], folder: Path, log: Path, kill: Kill | None) -> Ending:
    """Run `work` in a fork of this process, killed as `kill` says."""
    receive, send = os.pipe()
    begin = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(receive)
        _be_child(work, folder, log, kill, send)
    os.close(send)
    with os.fdopen(receive, "rb") as pipe:
        _wait(child, begin)
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    elapsed = time.monotonic() - begin
    if os.WIFSIGNALED(status):
        by = os.WTERMSIG(status)
        hangs = elapsed > LONGEST_S
        planned = kill is not None and by in (signal.SIGKILL, signal.SIGALRM) and not hangs
        error = "" if planned else f"hangs for {elapsed:.0f} s" if hangs else f"signal {by}"
        return Ending(True, error, 0, elapsed)
    lines = log.read_text(errors="replace").splitlines()
    error = "" if os.WEXITSTATUS(status) == 0 else (lines or ["no message"])[-1]
    return Ending(False, error, int(told or b"0"), elapsed)


def _wait(child: int, begin: float) -> None:
    """Wait for the end of a child without collecting it; kill it where it hangs."""
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        if time.monotonic() - begin > LONGEST_S:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)


def _be_child(
    work: Callable[[], None], folder: Path, log: Path, kill: Kill | None, send: int
) -> None:
    code = 1
    try:
        with log.open("wb", buffering=0) as file:
            for descriptor in (1, 2):
                os.dup2(file.fileno(), descriptor)
        count = _watch(str(folder), kill)
        work()
        os.write(send, str(count()).encode())
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _watch(folder: str, kill: Kill | None) -> Callable[[], int]:
    """Count this process's file operations below `folder`, and kill it at one of them.

    Python tells of an operation before it does it. SIGALRM ends a process as SIGKILL does, with
    nothing tidied up, and can be had at a time to come.
    """
    count = 0

    def see(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event not in EVENTS or not str(arguments[0]).startswith(folder):
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & WRITES):
            return
        count += 1
        if kill is not None and count == kill.operation:
            if not kill.after_s:
                os.kill(os.getpid(), signal.SIGKILL)
            signal.setitimer(signal.ITIMER_REAL, kill.after_s)

    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    if kill is not None and not kill.operation:
        signal.setitimer(signal.ITIMER_REAL, max(kill.after_s, 1e-6))
    sys.addaudithook(see)
    return lambda: count


class Bench:
    """The scenarios with what they should leave, and the tally of what they left."""

    def __init__(self, place: Path, seed: int, say: Callable[[str], None]) -> None:
        self.place, self.say = place, say
        self.random = random.Random(seed)
        self.kills = 0
        self.faults: list[str] = []
        self.wholes: dict[str, dict[str, bytes]] = {}
        self.costs: dict[str, tuple[int, float]] = {}  # file operations and seconds
        prepare(place)

    def measure(self, scenario: Scenario) -> None:
        """Run a scenario without a kill.

        Once in this process, which then has all modules and kernels: its forks are quick.
        """
        if not scenario.forks:
            scenario.run(self._fresh(scenario))
        folder = self._fresh(scenario)
        ending = run_child(lambda: scenario.run(folder), folder, self.place / "log", None)
        if ending.error:
            raise SystemExit(f"{scenario.name}: fails without a kill: {ending.error}")
        self.wholes[scenario.name] = scenario.contents(folder)
        self.costs[scenario.name] = (ending.operations, ending.elapsed_s)
        self.say(
            f"{scenario.name}: {ending.operations} file operations, {ending.elapsed_s:.1f} s,"
            f" {len(self.wholes[scenario.name])} files"
        )

    def draw(self, scenario: Scenario) -> Kill:
        """Draw a kill: before an operation, shortly after one, or at any time."""
        operations, elapsed = self.costs[scenario.name]
        kind = self.random.randrange(3)
        operation = self.random.randint(1, max(operations, 1))
        if kind == 0:
            return Kill(operation)
        if kind == 1:
            return Kill(operation, self.random.uniform(1e-5, PAUSE_S))
        return Kill(0, self.random.uniform(0, elapsed))

    def chain(self, scenario: Scenario, kills: list[Kill]) -> None:
        """Kill a scenario once after the other, let it end, and compare."""
        folder, log = self._fresh(scenario), self.place / "log"
        what = f"{scenario.name}, killed {', then '.join(map(str, kills))}"
        for kill in kills:
            ending = run_child(lambda: scenario.run(folder), folder, log, kill)
            if ending.error:
                self._fault(f"{what}: {ending.error}")
                return
            if not ending.killed:
                break
            self.kills += 1
            if scenario.look is not None:
                seen = run_child(lambda: scenario.look(folder), folder, log, None)  # type: ignore[misc]
                if seen.error:
                    self._fault(f"{what}: what is left cannot be read: {seen.error}")
                    return
        ending = run_child(lambda: scenario.run(folder), folder, log, None)
        if ending.error:
            self._fault(f"{what}: does not go on: {ending.error}")
            return
        whole, found = self.wholes[scenario.name], scenario.contents(folder)
        for name in sorted(whole.keys() | found.keys()):
            if name not in whole:
                self._fault(f"{what}: leaves {name}")
            elif name not in found:
                self._fault(f"{what}: {name} is missing")
            elif whole[name] != found[name]:
                self._fault(f"{what}: {name} has other bytes")

    def _fresh(self, scenario: Scenario) -> Path:
        folder = self.place / "work"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if scenario.before:
            made = run_child(
                lambda: scenario.before(folder),  # type: ignore[misc]
                folder,
                self.place / "log",
                None,
            )
            if made.error:
                raise SystemExit(f"{scenario.name}: cannot prepare: {made.error}")
        return folder

    def _fault(self, text: str) -> None:
        self.faults.append(text)
        self.say(f"FAULT {text}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=100, help="random kills, in chains of 1 to 3")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", action="store_true", help="first, one at every file operation")
    parser.add_argument("--only", help="names of scenarios, with commas")
    arguments = parser.parse_args()
    chosen = [s for s in SCENARIOS if not arguments.only or s.name in arguments.only.split(",")]
    say = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731
    with tempfile.TemporaryDirectory(prefix="tmkt-kills-") as place:
        bench = Bench(Path(place), arguments.seed, say)
        for scenario in chosen:
            bench.measure(scenario)
        if arguments.every:
            for scenario in chosen:
                for operation in range(1, bench.costs[scenario.name][0] + 1):
                    bench.chain(scenario, [Kill(operation)])
                say(f"{scenario.name}: killed at every file operation, {bench.kills} kills in all")
        wanted, turn = bench.kills + arguments.kills, 0
        while bench.kills < wanted and turn < 10 * arguments.kills:
            scenario = chosen[turn % len(chosen)]
            length = bench.random.randint(1, 3)
            bench.chain(scenario, [bench.draw(scenario) for _ in range(length)])
            turn += 1
    print(f"{bench.kills} kills of {len(chosen)} scenarios, {len(bench.faults)} faults")
    return 1 if bench.faults else 0


if __name__ == "__main__":
    sys.exit(main())
