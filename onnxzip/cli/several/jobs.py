"""Files and folders -> which models are compressed, and where each goes."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from onnxzip.cli.arguments import Request, is_suffix
from onnxzip.cli.asking.places import SMALL
from onnxzip.disk.cache.store import entries_in
from onnxzip.disk.replacing import is_same_file
from onnxzip.errors import InputError, UsageError, reason_of
from onnxzip.trust.delivery import SEALED

_SUFFIX = ".onnx"


@dataclass(frozen=True)
class Job:
    """One of several models.

    Attributes:
        source: the model.
        output: where it goes.
        name: what it is called in lines: its place in the folder that is written to.
        n_bytes: size of the file, 0 where it cannot be looked at.
    """

    source: Path
    output: Path
    name: str
    n_bytes: int

    def request(self, whole: Request, n_jobs: int, max_memory: int | None = None) -> Request:
        """Return what is asked for of this model, with its shares of processes and memory."""
        report = whole.report
        if report is not None and is_suffix(report):
            report = self.output.with_suffix(report.name)
        output = self.output
        if whole.delivery.seal:
            output = output.with_name(output.name + SEALED)
        return replace(
            whole,
            source=self.source,
            output=output,
            several=(),
            report=report,
            options=replace(whole.options, n_jobs=n_jobs, max_memory=max_memory),
        )


@dataclass(frozen=True)
class Found:
    """What there is to do.

    Attributes:
        jobs: the models, in the order of their names.
        n_small: files in folders that are called like what is compressed already, left out.
        n_others: files in folders that are no .onnx files.
    """

    jobs: tuple[Job, ...]
    n_small: int
    n_others: int


def find_jobs(sources: Sequence[Path], folder: Path, cache: Path | None = None) -> Found:
    """Return the models to compress.

    A folder's models keep their places in it, below its name where it is not the only one. What lies
    in the folder that is written to is none of them, nor is what a cache keeps.

    Args:
        sources: models, and folders of them at any depth.
        folder: what is written to.
        cache: the folder of a cache.

    Raises:
        InputError: a folder cannot be looked through, or there is no model.
        UsageError: two models would go to one place, or a folder is the one written to.
    """
    left_out = (folder, *(() if cache is None else (entries_in(cache),)))
    jobs: dict[Path, Job] = {}
    n_small = n_others = 0
    for source in sources:
        if not source.is_dir():
            _add(jobs, source, folder, source.name)
            continue
        if is_same_file(source, folder):
            raise UsageError(f"{source} would be written to itself; name another folder to write to")
        below = Path(source.resolve().name) if len(sources) > 1 else Path()
        for path in _files(source, left_out):
            if path.suffix.lower() != _SUFFIX:
                n_others += 1
            elif path.name.lower().endswith(SMALL):
                n_small += 1
            else:
                _add(jobs, path, folder, str(below / path.relative_to(source)))
    if not jobs:
        raise InputError(
            f"{', '.join(map(str, sources))}: holds no {_SUFFIX} file"
            + (f" but {n_small} compressed already" if n_small else "")
            + "; name a folder that does, or the files"
        )
    _check_apart(jobs.values())
    return Found(tuple(jobs.values()), n_small, n_others)


def check_reports(jobs: Sequence[Job], reports: Sequence[Path | None]) -> None:
    """Refuse two models whose reports would be one file.

    Args:
        jobs: the models.
        reports: where the report of each goes, None for none.

    Raises:
        UsageError: two would be written to one place.
    """
    first: dict[Path, Job] = {}
    for job, report in zip(jobs, reports, strict=True):
        if report is not None and first.setdefault(report, job) is not job:
            raise UsageError(
                f"the reports of {first[report].source} and {job.source} would both be written to "
                f"{report}; compress one of them by itself"
            )


def _check_apart(jobs: Collection[Job]) -> None:
    """Refuse to write over a model that is still to be read."""
    sources = {job.source.resolve(): job for job in jobs}
    for job in jobs:
        other = sources.get(job.output.resolve())
        if other is not None:
            raise UsageError(
                f"{job.source} would be written over {other.source}, which is to be compressed as well; "
                "name another folder to write to"
            )


def _add(jobs: dict[Path, Job], source: Path, folder: Path, name: str) -> None:
    output = folder / name
    if output in jobs:
        raise UsageError(
            f"{jobs[output].source} and {source} would both be written to {output}; "
            "compress one of them by itself"
        )
    try:
        n_bytes = source.stat().st_size
    except OSError:  # what is wrong with it is told when it is its turn
        n_bytes = 0
    jobs[output] = Job(source, output, name, n_bytes)


def _files(source: Path, left_out: Sequence[Path]) -> Iterator[Path]:
    """Yield the files of a folder at any depth, in the order of their paths."""

    def fail(error: OSError) -> None:
        raise InputError(f"{error.filename}: cannot be looked through; {reason_of(error)}") from error

    for place, folders, names in os.walk(source, onerror=fail):
        here = Path(place)
        folders[:] = sorted(
            name for name in folders if not any(is_same_file(here / name, other) for other in left_out)
        )
        yield from (here / name for name in sorted(names))
