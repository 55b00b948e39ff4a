"""Runs recordings in shards of fixed size, in this process or on a Ray cluster.

The result of a shard does not depend on who runs it, so the results are the same bytes either way.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from tmkt import __version__
from tmkt.bundle import MANIFEST, Bundle, load
from tmkt.datasets.reading import load_binned
from tmkt.datasets.types import Recording
from tmkt.deploy.engines.registry import open_engine
from tmkt.deploy.engines.types import Engine
from tmkt.deploy.evaluate import Answers, Progress, answers_of, batch_size, join_answers, measure
from tmkt.errors import InputError
from tmkt.events.channels import Contract

# Recordings. A shard is tens of milliseconds of work at least, against less than one to hand it
# over, and little to run again.
SHARD_SIZE = 100

Shard = tuple[Recording, ...]


@dataclass(frozen=True)
class Job:
    """The bundle and engine that run the shards.

    `threads`: threads of the engine, None for all cores. A worker checks `manifest_sha256` and
    `tmkt` (the version), so that no other bundle and no other program answers on another machine.
    `contract`: how recordings are binned. `loaded`: the bundle itself, in the process that has it:
    it may be replaced on disk.
    """

    bundle: Path
    manifest_sha256: str
    engine: str
    threads: int | None
    contract: Contract
    tmkt: str = __version__
    loaded: Bundle | None = field(default=None, compare=False, repr=False)


# Yields (index, answers) of every shard once, in any order.
Runner = Callable[[Job, Sequence[Shard]], Iterator[tuple[int, Answers]]]


def run_recordings(
    bundle: Bundle,
    engine: str,
    recordings: Sequence[Recording],
    runner: Runner,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Answers:
    """Run recordings shard by shard and return the answers in the order of the recordings.

    `progress` is called with the number of recordings done.

    Raises InputError if there are no recordings, if one has an unknown class or cannot be read, or
    if the engine cannot run the bundle.
    """
    if not recordings:
        raise InputError(f"{bundle.path}: no recordings to run; check --data, --split and --limit")
    strange = next((r for r in recordings if r.label >= bundle.program.classes), None)
    if strange:
        raise InputError(
            f"{strange.path}: of class {strange.label}, the bundle knows {bundle.program.classes}"
            " classes; choose the data it was made for"
        )
    path = bundle.path.absolute()  # a worker may have another working folder
    digest = hashlib.sha256(bundle.contents[MANIFEST]).hexdigest()
    job = Job(path, digest, engine, threads, bundle.contract, loaded=bundle)
    absolute = [replace(r, path=r.path.absolute()) for r in recordings]
    shards = [tuple(absolute[i : i + SHARD_SIZE]) for i in range(0, len(absolute), SHARD_SIZE)]
    parts: dict[int, Answers] = {}
    done = 0
    with closing(runner(job, shards)) as answered:  # type: ignore[type-var]
        for i, part in answered:
            parts[i] = part
            done += len(shards[i])
            if progress:
                progress(done)
    return join_answers([parts[i] for i in range(len(shards))])


def in_this_process(job: Job, shards: Sequence[Shard]) -> Iterator[tuple[int, Answers]]:
    """Run one shard after another in this process."""
    for i, shard in enumerate(shards):
        yield i, run_shard(job, shard)


def run_shard(job: Job, shard: Shard) -> Answers:
    """Read, bin and run one shard, in batches of bounded memory.

    Raises InputError as `load`, `open_engine` and `load_binned` do.
    """
    bundle, engine = _open(job)
    size = batch_size(bundle.program, bundle.contract.bins)
    parts = []
    for begin in range(0, len(shard), size):
        binned = load_binned(shard[begin : begin + size], bundle.contract)
        _run_first(job)  # after reading, beside which its kernels may have been compiled
        parts.append(answers_of(measure(bundle, engine, binned.frames), binned.extents))
    return join_answers(parts)


@lru_cache(maxsize=1)
def _open(job: Job) -> tuple[Bundle, Engine]:
    """Open bundle and engine, once a process."""
    if job.tmkt != __version__:
        raise InputError(
            f"worker: runs tmkt {__version__}, expected {job.tmkt}; install the same tmkt on every"
            " machine"
        )
    bundle = job.loaded or load(job.bundle)
    if hashlib.sha256(bundle.contents[MANIFEST]).hexdigest() != job.manifest_sha256:
        raise InputError(
            f"{job.bundle}: is another bundle for this worker; give every machine the same folder"
        )
    bundle = replace(bundle, contract=job.contract)
    return bundle, open_engine(job.engine, bundle, threads=job.threads)


@lru_cache(maxsize=1)
def _run_first(job: Job) -> None:
    """Run a first sample, once a process, so that no shard's time contains a compilation."""
    _, engine = _open(job)
    if engine.name != "lava":  # its start takes seconds and compiles nothing
        shape = (1, job.contract.bins, *job.contract.shape)
        sample = np.random.default_rng(0).random(shape) < 0.1
        engine.run(sample.astype(np.uint8))
