"""Lanes: where the segments of writers are, and who may append to them.

A lane is a writer id with its segments. One process at a time owns it, by a lease that dies with the process; the
next process takes it over, so that the number of writer ids (each is an application id in every table) follows the
number of processes *at once*, not of all processes ever. Files in the folder of a host:

    <writer>.lock            the owner's lease
    <writer>.<seq>.seg       a segment whose first row has this number
    clock                    greatest reading of the hybrid clock on this host
    committer.lock           lease of the committer

A writer id begins with the id of the host's boot. Lanes of an earlier boot are drained and never written again: after a
loss of power their tail may be shorter than what was committed, and numbers must not be given twice.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lakelineage.errors import LakeTooNew, UnsuitableStorage
from lakelineage.journal.segment import MAGIC, Record, decode
from lakelineage.store.locks import Lease

#: A lane whose last segment is longer than this is left to the committer rather than taken over and read through.
_TAKE_OVER_LIMIT = 1 << 20
_NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "beegfs"}


@cache
def boot_id() -> str:
    """Eight hex digits that change with every boot of this machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        import psutil

        return f"{int(psutil.boot_time()) & 0xFFFFFFFF:08x}"


def file_system(path: Path) -> str:
    """Type of the file system under a path, as the operating system names it; empty if it does not tell."""
    import psutil

    existing = next(p for p in (path, *path.parents) if p.exists()).resolve()
    best, kind = "", ""
    for partition in psutil.disk_partitions(all=True):
        mount = Path(partition.mountpoint)
        if existing.is_relative_to(mount) and len(partition.mountpoint) >= len(best):
            best, kind = partition.mountpoint, partition.fstype
    return kind


def is_network(kind: str) -> bool:
    """Whether a file system of this type lives on another machine."""
    return kind.lower() in _NETWORK_FILE_SYSTEMS or kind.startswith("fuse.sshfs")


def require_local(folder: Path) -> None:
    """Refuse a journal of a remote lake on a network file system.

    Raises:
        UnsuitableStorage: the folder is on one.
    """
    kind = file_system(folder)
    if is_network(kind):
        raise UnsuitableStorage(
            f"the journal {folder} is on a network file system ({kind}), which cannot promise that a returned write "
            "is durable; set LAKELINEAGE_SPOOL to a folder on a local disk"
        )


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """One segment file.

    Attributes:
        writer: writer id.
        first_seq: number of the first row that it may hold.
        path: file.
    """

    writer: str
    first_seq: int
    path: Path

    def records(self, start: int = len(MAGIC), stop: int | None = None) -> Iterator[Record]:
        """Its whole records from an offset on; none if the file is gone (it was committed and released).

        Raises:
            LakeTooNew: it was written in another format.
        """
        try:
            fd = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return
        try:
            size = os.fstat(fd).st_size if stop is None else stop
            head = os.pread(fd, len(MAGIC), 0)
            data = os.pread(fd, max(0, size - start), start)
        finally:
            os.close(fd)
        if head and not MAGIC.startswith(head) and head.startswith(MAGIC[:5]):
            raise LakeTooNew(f"journal segment {self.path} has another format; upgrade lakelineage to read it")
        yield from decode(data, start)


def segments(folder: Path) -> list[Segment]:
    """Segments in the folder of a host, by writer and number."""
    found = []
    for name in os.listdir(folder) if folder.is_dir() else ():
        writer, _, rest = name.partition(".")
        if rest.endswith(".seg"):
            found.append(Segment(writer, int(rest.removesuffix(".seg")), folder / name))
    return sorted(found)


def hosts(journal: Path) -> list[Path]:
    """Folders of the hosts whose journals are here."""
    return sorted(p for p in journal.iterdir() if p.is_dir()) if journal.is_dir() else []


def lease_of(folder: Path, writer: str) -> Lease:
    """The lease that the owner of a lane holds."""
    return Lease(folder / f"{writer}.lock")


@dataclass(frozen=True, slots=True)
class Lane:
    """A lane that this process owns.

    Attributes:
        writer: writer id.
        lease: held until the process ends or lets go.
        next_seq: number of the next row.
    """

    writer: str
    lease: Lease
    next_seq: int


def take(folder: Path) -> Lane:
    """Take over a lane that nobody owns, or begin a new one."""
    folder.mkdir(parents=True, exist_ok=True)
    by_writer: dict[str, list[Segment]] = {}
    for segment in segments(folder):
        if segment.writer.startswith(boot_id()):
            by_writer.setdefault(segment.writer, []).append(segment)
    for writer in by_writer:
        lane = _take_over(folder, writer)
        if lane is not None:
            return lane
    writer = f"{boot_id()}-{os.urandom(5).hex()}"
    lease = lease_of(folder, writer)
    lease.acquire()
    return Lane(writer, lease, 1)


def _take_over(folder: Path, writer: str) -> Lane | None:
    lease = lease_of(folder, writer)
    if not lease.acquire():
        return None
    mine = [s for s in segments(folder) if s.writer == writer]  # anew: they may have gone before the lease was ours
    if not mine or mine[-1].path.stat().st_size > _TAKE_OVER_LIMIT or not is_whole(mine[-1]):
        lease.release()
        return None
    return Lane(writer, lease, next_seq(mine[-1]))


def is_whole(segment: Segment) -> bool:
    """Whether a segment that nobody writes to ends with a whole record.

    If it does not, more may have been committed of it than it still tells: its lane is not used again, for numbers
    must not be given twice.
    """
    end = len(MAGIC)
    for record in segment.records():
        end = record.end
    return segment.path.stat().st_size <= end


def next_seq(last: Segment) -> int:
    """The first number that no segment of a lane has used, given its last segment.

    One number is skipped, so that the name of the next segment is new.
    """
    used = last.first_seq - 1
    for record in last.records():
        used = record.last_seq
    return used + 2
