"""Where a store is: named objects of bytes, each put whole or not at all, in whatever Zarr can write to."""

import os
import re
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any


class Objects:
    """The objects of one store. All that is asked of it: `get`, an atomic `put`, and the names at its root.

    store: what Zarr calls a store. name: how messages call it.
    folder: where the objects are files that this process can flush to the disk; None otherwise.
    """

    def __init__(self, store: Any, name: str, folder: Path | None):
        self.store, self.name, self.folder = store, name, folder

    def get(self, key: str) -> bytes | None:
        """The bytes of an object; None if there is none."""
        found = _done(self.store.get(key, prototype=import_zarr().core.buffer.default_buffer_prototype()))
        return None if found is None else found.to_bytes()

    def put(self, key: str, data: bytes) -> None:
        _done(self.store.set(key, import_zarr().core.buffer.cpu.Buffer.from_bytes(data)))

    def put_first(self, key: str, data: bytes) -> bytes:
        """Put an object unless there is one, at once where the store can; returns what is there then."""
        _done(self.store.set_if_not_exists(key, import_zarr().core.buffer.cpu.Buffer.from_bytes(data)))
        return self.get(key) or b""

    def has(self, key: str) -> bool:
        return bool(_done(self.store.exists(key)))

    def at_root(self) -> list[str]:
        """The first parts of the objects' names."""
        return sorted(name.strip("/") for name in _listed(self.store.list_dir("")))

    def everything(self) -> dict[str, bytes]:
        """All objects, of a store that is small."""
        return {key: self.get(key) or b"" for key in _listed(self.store.list())}

    def flush(self, keys: list[str]) -> None:
        """Wait until these are on the disk, if they are files: they then outlive a power cut."""
        if self.folder is None:
            return
        for key in keys:
            handle = os.open(self.folder / key, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def called(self, key: str) -> str:
        """How messages call an object."""
        return f"{self.name.rstrip('/')}/{key}"


def _done(work: Coroutine[Any, Any, Any]) -> Any:
    """What a store's method returns. Raises OSError if the store fails: each kind has errors of its own."""
    try:
        return import_zarr().core.sync.sync(work)
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


def _listed(names: AsyncIterator[str]) -> list[str]:
    async def collect() -> list[str]:
        return [name async for name in names]

    return _done(collect())


def locate(store: Any, beside: Path | None = None) -> Objects:
    """The store at a path, at a URL (through fsspec), or that a Zarr store object is.

    Arguments:
        beside: the folder that a relative path is relative to.

    Raises:
        ValueError: for what is none of them, or needs a library that is not installed.
    """
    zarr = import_zarr()
    if isinstance(store, zarr.abc.store.Store):
        return _of_zarr(zarr, store)
    if not isinstance(store, str | Path) or str(store) in ("", "."):
        raise ValueError(f"store = {store!r} must be a path, such as 'run.zarr', a URL, or a Zarr store")
    text = str(store)
    if "::" in text:
        raise ValueError(f"store = {text!r} chains file systems, which may put half an object; name one of them")
    if not (is_url := re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/", text)):
        folder = Path(text) if beside is None else beside / text
        return Objects(zarr.storage.LocalStore(folder), str(folder), folder)
    if isinstance(store, Path):
        raise ValueError(f"store = {text!r} is a URL in a Path, which makes one slash of two: pass it as a text")
    if is_url[1] in ("file", "local"):
        folder = Path(re.sub(r"^\w+:/+", "/", text))
        return Objects(zarr.storage.LocalStore(folder), text, folder)
    try:
        return Objects(zarr.storage.FsspecStore.from_url(text), text, None)
    except ImportError as error:
        raise ValueError(f"store = {text!r} needs a library that is not installed: {error}; pip install it") from error
    except ValueError as error:
        raise ValueError(f"store = {text!r} is a URL that fsspec does not know: {error}; pass another") from error


def _of_zarr(zarr: Any, store: Any) -> Objects:
    name = f"{type(store).__name__} {store}"
    if isinstance(store, zarr.storage.ZipStore):
        raise ValueError(f"store = {name!r} cannot replace what it has; use a folder, and zip it when it is finished")
    if store.read_only or not store.supports_writes:
        raise ValueError(f"store = {name!r} cannot be written; pass one opened for writing")
    return Objects(store, name, store.root if isinstance(store, zarr.storage.LocalStore) else None)


class NoZarr(ValueError):
    """Zarr is not installed."""


def import_zarr() -> Any:
    try:
        import zarr  # noqa: PLC0415  optional
    except ImportError as error:
        raise NoZarr("store= needs zarr and xarray: pip install 'jaxinertia[io]'") from error
    return zarr
