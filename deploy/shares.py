"""Recordings in shares of fixed size: what a share gives does not depend on who runs it, so the
results are the same bytes whoever does.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from tmkt import __version__
from tmkt.bundle import MANIFEST, Bundle, load, sha256
from tmkt.datasets import Recording, load_frames
from tmkt.deploy.engines import Engine, open_engine
from tmkt.deploy.evaluate import Answers, Progress, answers_of, batch_size, join_answers, measure
from tmkt.errors import InputError
from tmkt.events.frames import InputContract

# recordings: tens of milliseconds of work at least, against less than one to hand them over; little
# to run again
SHARE = 100
MOST_LOSSES = 3  # of workers over one share before it is given up: ours

Share = tuple[Recording, ...]


@dataclass(frozen=True)
class Job:
    """What to run shares with. `threads`: of the engine, None for all cores. `manifest_sha256` and
    `tmkt` (its version) are what the worker must find, so that no other bundle and no other program
    answers on another machine. `contract`: how recordings are binned, None as the bundle says.
    """

    bundle: Path
    manifest_sha256: str
    engine: str
    threads: int | None
    tmkt: str = __version__
    contract: InputContract | None = None


Runner = Callable[
    [Job, Sequence[Share]], Iterator[tuple[int, Answers]]
]  # gives (index, answers) of every share once, in any order


def run_recordings(
    bundle: Bundle,
    engine: str,
    recordings: Sequence[Recording],
    runner: Runner,
    threads: int | None,
    progress: Progress | None = None,
) -> Answers:
    """Runs recordings share by share and gives the answers in the recordings' order. `progress` is
    told how many are done.

    Raises InputError for no recordings, for one of an unknown class or that cannot be read, for an
    engine that cannot run the bundle, and for workers that die again and again.
    """
    if not recordings:
        raise InputError(f"{bundle.path}: no recordings to run; check --data, --split and --limit")
    strange = next((r for r in recordings if r.label >= bundle.program.classes), None)
    if strange:
        raise InputError(
            f"{strange.path}: of class {strange.label}, the bundle knows {bundle.program.classes}"
            " classes; choose the data it was made for"
        )
    path = bundle.path.absolute()  # a worker may stand elsewhere
    job = Job(path, sha256(path / MANIFEST), engine, threads, contract=bundle.contract)
    absolute = [replace(r, path=r.path.absolute()) for r in recordings]
    shares = [tuple(absolute[i : i + SHARE]) for i in range(0, len(absolute), SHARE)]
    parts: dict[int, Answers] = {}
    done = 0
    with closing(runner(job, shares)) as answered:  # type: ignore[type-var]
        for i, part in answered:
            parts[i] = part
            done += len(shares[i])
            if progress:
                progress(done)
    return join_answers([parts[i] for i in range(len(shares))])


def in_this_process(job: Job, shares: Sequence[Share]) -> Iterator[tuple[int, Answers]]:
    """The plainest runner: one share after another, here."""
    for i, share in enumerate(shares):
        yield i, run_share(job, share)


def run_share(job: Job, share: Share) -> Answers:
    """Reads, bins and runs one share, in batches of bounded memory. InputError as `load`,
    `open_engine` and `load_frames` raise it.
    """
    bundle, engine = _open(job)
    size = batch_size(bundle.program, bundle.contract.bins)
    parts = []
    for begin in range(0, len(share), size):
        frames, _ = load_frames(share[begin : begin + size], bundle.contract)
        parts.append(answers_of(measure(bundle, engine, frames)))
    return join_answers(parts)


def lost(share: Share, how: str) -> InputError:
    """The error for a share whose workers died again and again."""
    first, last = share[0].path, share[-1].path
    return InputError(
        f"worker: {MOST_LOSSES} died ({how}) over the recordings {first} to {last}; use fewer"
        " workers where memory is short, or leave these out"
    )


@lru_cache(maxsize=1)
def _open(job: Job) -> tuple[Bundle, Engine]:
    """The bundle and the engine, once a process. Kernels are compiled by a first run here, so that
    no share's time holds it.
    """
    if job.tmkt != __version__:
        raise InputError(
            f"worker: runs tmkt {__version__}, expected {job.tmkt}; install the same tmkt on every"
            " machine"
        )
    bundle = load(job.bundle)
    if sha256(job.bundle / MANIFEST) != job.manifest_sha256:
        raise InputError(
            f"{job.bundle}: is another bundle for this worker; give every machine the same folder"
        )
    bundle = replace(bundle, contract=job.contract or bundle.contract)
    engine = open_engine(job.engine, bundle, threads=job.threads)
    if engine.name != "lava":
        contract = bundle.contract
        engine.run(
            (np.random.default_rng(0).random((1, contract.bins, *contract.shape)) < 0.1).astype(
                np.uint8
            )
        )
    return bundle, engine
