"""Files by name in a folder, or below an address of object storage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem

from isthmus.data.paths import local_path
from isthmus.digests import digest_stream
from isthmus.durable import make_folder, partial_name, put_file, remove_stale_parts
from isthmus.errors import CorruptBackup, InvalidInput

BLOCK_BYTES: Final = 2**22
INCOMING: Final = "incoming"  # a content whose digest is not known yet
REMOTE: Final = ("s3://", "gs://", "gcs://", "abfs://", "abfss://")


class FileStore:
    """Immutable files by name; each is there whole or not at all.

    Parameters
    ----------
    place : str or Path
        A folder, or an address such as ``s3://bucket/folder``, whose credentials come from the
        environment as PyArrow finds them.
    file_system : pyarrow.fs.FileSystem, optional
        The file system in which the place is a path; by default that of the address.

    Raises
    ------
    InvalidInput
        If the address is not valid, or of another scheme.
    """

    def __init__(self, place: str | Path, file_system: FileSystem | None = None) -> None:
        self.place = str(place)
        self._local: Path | None = None
        if file_system is not None:
            self._files, self._root = file_system, PurePosixPath(place)
        elif self.place.startswith(REMOTE):
            try:
                self._files, root = FileSystem.from_uri(self.place)
            except (OSError, ValueError) as error:
                raise InvalidInput(f"cannot open {self.place}: {error}") from error
            self._root = PurePosixPath(root)
        else:
            self._local = local_path(place)
            self._files, self._root = LocalFileSystem(), PurePosixPath(self._local)

    def __contains__(self, name: str) -> bool:
        return bool(self._files.get_file_info(self._path(name)).type == FileType.File)

    def names(self, folder: str) -> list[str]:
        """Return the names of the files of a folder and below it, ascending."""
        selector = FileSelector(self._path(folder), recursive=True, allow_not_found=True)
        infos = self._files.get_file_info(selector)
        files = [info.path for info in infos if info.type == FileType.File]
        start = len(self._root.parts) - (self._root.is_absolute())  # some name paths from /
        names = [PurePosixPath(*PurePosixPath("/", path).parts[1 + start :]) for path in files]
        return sorted(str(name) for name in names if not name.name.startswith("."))

    def write(self, name: str, content: bytes | IO[bytes]) -> None:
        """Store a file, in the place of one of the same name."""
        if self._local is None:
            self._files.create_dir(str(PurePosixPath(self._path(name)).parent), recursive=True)
            self._write(self._path(name), content)
            return
        path = self._local / name
        make_folder(path.parent)
        partial = partial_name(path)
        self._write(str(partial), content)
        put_file(partial, path)

    def add(self, content: IO[bytes], name_of: Callable[[str], str]) -> tuple[str, bool]:
        """Store a content under a name that its digest gives, unless it is there already.

        A folder reads it once, digests it on the way, and has it under the name once it reads back
        the same. Object storage, which cannot rename, needs the digest before it writes.

        Parameters
        ----------
        content : file
            Bytes, from the beginning; it can be rewound.
        name_of : callable
            Returns the name of a digest, 32 hexadecimal digits.

        Returns
        -------
        tuple of (str, bool)
            The digest, and whether the content was new.

        Raises
        ------
        CorruptBackup
            If it reads back with another content; then nothing is stored.
        """
        if self._local is None:
            digest = digest_stream(_blocks(content)).hex()
            if name_of(digest) in self:
                return digest, False
            content.seek(0)
            self.write(name_of(digest), content)
            self._require(name_of(digest), digest)
            return digest, True
        partial = partial_name(make_folder(self._local) / INCOMING)
        digest = self._write(str(partial), content)
        if name_of(digest) in self:
            partial.unlink()
            return digest, False
        self._require(partial.name, digest)
        path = self._local / name_of(digest)
        make_folder(path.parent)
        put_file(partial, path)
        return digest, True

    def remove_left_overs(self) -> None:
        """Remove what a process was writing when it was killed."""
        if self._local is not None:
            remove_stale_parts(self._local)

    def _require(self, name: str, digest: str) -> None:
        """Remove a file, and raise `CorruptBackup`, where it reads back with another digest."""
        if self.digest(name) != digest:
            self.remove(name)
            raise CorruptBackup(
                f"what was written to {self.place} reads back with another content, and is removed "
                "again. Check that disk"
            )

    def _write(self, path: str, content: bytes | IO[bytes]) -> str:
        """Write a file; return the digest of what was written."""
        with self._files.open_output_stream(path, compression=None) as stream:
            return digest_stream(_written(stream, content)).hex()

    def blocks(self, name: str) -> Iterator[bytes]:
        """Yield the content of a file.

        Raises
        ------
        FileNotFoundError
            If there is none of the name.
        """
        with self._files.open_input_stream(self._path(name), compression=None) as stream:
            while block := stream.read(BLOCK_BYTES):
                yield block

    def read(self, name: str) -> bytes:
        """Return the content of a file; see `blocks`."""
        return b"".join(self.blocks(name))

    def digest(self, name: str) -> str:
        """Return the `digest` of the content of a file, 32 hexadecimal digits."""
        return digest_stream(self.blocks(name)).hex()

    def remove(self, name: str) -> None:
        """Remove a file."""
        self._files.delete_file(self._path(name))

    def _path(self, name: str) -> str:
        return str(self._root / name)


def _blocks(content: bytes | IO[bytes]) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    while block := content.read(BLOCK_BYTES):
        yield block


def _written(stream: Any, content: bytes | IO[bytes]) -> Iterator[bytes]:
    """Write a content block by block, and yield each block that was written."""
    for block in _blocks(content):
        stream.write(block)
        yield block
