"""The directories in which a job works, and the archives that its checkpoints are.

::

    <work>/checkpoint/        SPOT_CHECKPOINT_DIR: what is kept in S3, and the program's working directory
    <work>/control/           SPOT_PROGRESS_FILE, SPOT_READY_FILE, SPOT_SAVED_FILE
    <work>/spool/             archives on their way
"""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple, cast

from spot_agent.errors import NotSaved, Unusable

ARCHIVE_TRIES = 3
"""A file may vanish or shrink under the archive's hands, if the program has left its process group."""


class Archive(NamedTuple):
    """A file that holds the directory, and the SHA-256 of its bytes in hex."""

    path: Path
    sha256: str
    size: int


class Workplace:
    """The directories below ``work``; made when first used."""

    def __init__(self, work: Path) -> None:
        self.checkpoint = work / "checkpoint"
        self.control = work / "control"
        self.spool = work / "spool"

    def prepare(self) -> None:
        """Make what is missing; remove what an earlier agent has left half done."""
        shutil.rmtree(self.spool, ignore_errors=True)
        shutil.rmtree(self.control, ignore_errors=True)
        for folder in (self.checkpoint, self.control, self.spool):
            folder.mkdir(parents=True, exist_ok=True)

    def archive(self, name: str) -> Archive:
        """Put the directory as it is into one file in the spool; raise NotSaved where that fails."""
        path = self.spool / name
        for _ in range(ARCHIVE_TRIES):
            try:
                return _archived(self.checkpoint, path)
            except (OSError, tarfile.TarError) as error:
                failure = error
        path.unlink(missing_ok=True)
        raise NotSaved(f"the checkpoint directory cannot be archived: {failure}") from failure

    def unpack(self, path: Path) -> None:
        """Replace the directory by an archive's content, whole or not at all; raise Unusable for what is no such archive."""
        fresh = self.spool / "fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            with tarfile.open(path) as tar:
                _extract(tar, fresh)
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise Unusable(f"{path.name}: not an archive of a checkpoint: {error}") from error
        self.clear()
        fresh.rename(self.checkpoint)

    def clear(self) -> None:
        """Remove the directory with all that is in it."""
        shutil.rmtree(self.checkpoint, ignore_errors=True)

    def clear_spool(self) -> None:
        """Remove archives that were fetched ahead and turned out not to be the last word."""
        for archive in self.spool.glob("fetched-*.tar"):
            archive.unlink(missing_ok=True)

    def start_empty(self) -> None:
        """Leave an empty directory."""
        self.clear()
        self.checkpoint.mkdir(parents=True)


class _Hashing:
    """A file that is written to, and hashed on the way."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.size += len(data)
        return self.file.write(data)


def _archived(folder: Path, path: Path) -> Archive:
    with path.open("wb") as file:
        hashing = _Hashing(file)
        # In stream mode, so that nothing is written twice.
        with tarfile.open(fileobj=cast("BinaryIO", hashing), mode="w|", format=tarfile.PAX_FORMAT) as tar:
            tar.add(str(folder), arcname=".")
    return Archive(path, hashing.digest.hexdigest(), hashing.size)


def _extract(tar: tarfile.TarFile, folder: Path) -> None:
    """Extract an archive whose checksum was right, so that it is one of our own; one that would write elsewhere is refused all the same."""
    members = tar.getmembers()
    paths = [PurePosixPath(member.name) for member in members]
    links = {path for path, member in zip(paths, members) if member.issym()}
    targets = [PurePosixPath(member.linkname) for member in members if member.islnk()]
    for path in (*paths, *targets):
        if path.is_absolute() or ".." in path.parts or not links.isdisjoint(path.parents):
            raise ValueError(f"it names {str(path)!r}, which lies outside")
    if len(set(paths)) < len(paths):
        # What comes second would be written through a link that came first.
        raise ValueError("it names something twice")
    if hasattr(tarfile, "fully_trusted_filter"):
        # What the program has saved it gets back, symbolic links out of the directory included.
        tar.extraction_filter = tarfile.fully_trusted_filter
    folder.mkdir(parents=True)
    tar.extractall(folder, members)  # noqa: S202  # the names were checked above
