"""Files by name in a folder, or below an address of object storage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Final

from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem

from isthmus.data.paths import local_path
from isthmus.digests import digest_stream
from isthmus.durable import make_folder, partial_name, put_file
from isthmus.errors import InvalidInput

BLOCK_BYTES: Final = 2**22
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

    def _write(self, path: str, content: bytes | IO[bytes]) -> None:
        with self._files.open_output_stream(path, compression=None) as stream:
            if isinstance(content, bytes):
                stream.write(content)
                return
            while block := content.read(BLOCK_BYTES):
                stream.write(block)

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
