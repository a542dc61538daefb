"""The list of a folder's files, as a version of a managed table: one row per file, by path."""

import hashlib
import mimetypes
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakelineage.snapshots.folders.scan import Seen

if TYPE_CHECKING:
    import pyarrow as pa

#: What ``Snapshot.kind`` says of folders.
KIND = "folder"
#: The column of a list of files that tells one from another.
KEY = "path"
_SLICE = 65_536
#: Only what Python knows by itself: what a machine's administrator added must not make another list of the same files.
_TYPES = mimetypes.MimeTypes()


@dataclass(frozen=True, slots=True)
class Manifest:
    """A folder's files with their digests, sorted by path."""

    files: Sequence[Seen]
    sha256: Mapping[Seen, str]

    @property
    def schema(self) -> "pa.Schema":
        """Columns of the table."""
        import pyarrow as pa

        texts = [pa.field(name, pa.string(), name == "media_type") for name in ("path", "sha256", "media_type")]
        return pa.schema([texts[0], pa.field("size", pa.int64(), False), *texts[1:]])

    def content(self) -> str:
        """Hash of what the folder holds: paths, sizes and digests. Times are no content, media types follow from it."""
        digest = hashlib.sha256(b"folder\n")
        for seen in self.files:
            path = seen.path.encode()
            digest.update(b"%d %s %d %s\n" % (len(path), path, seen.size, self.sha256[seen].encode()))
        return digest.hexdigest()[:40]

    def batches(self) -> "Iterator[pa.RecordBatch]":
        """The rows."""
        import pyarrow as pa

        for start in range(0, len(self.files), _SLICE):
            some = self.files[start : start + _SLICE]
            columns = [
                [seen.path for seen in some],
                [seen.size for seen in some],
                [self.sha256[seen] for seen in some],
                [media_type(seen.path) for seen in some],
            ]
            arrays = [pa.array(c, f.type) for c, f in zip(columns, self.schema, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def media_type(path: str) -> str | None:
    """What a file is by its suffix (``image/png``); None if that tells nothing."""
    name = path.rpartition("/")[2]
    _, dot, suffix = name.rpartition(".")
    key = f".{suffix.lower()}"
    return (_TYPES.types_map[True].get(key) or _TYPES.types_map[False].get(key)) if dot else None
