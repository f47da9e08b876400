"""A bucket of S3 or Google Cloud Storage, by obstore.

Not by pyarrow.fs: its S3 file system takes three requests for each object, however small (a
multipart upload of one part), and drops all metadata but five headers, which `Content-Type` and
`Cache-Control` are among and `width` is not (Arrow 26, `ObjectMetadataSetter` in
cpp/src/arrow/filesystem/s3fs.cc). It also tries a store that is down for six seconds.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from obstore.exceptions import BaseError
from obstore.store import GCSStore, S3Store

from omnishot_ray.storage.folders import FileInfo, TooLarge, unavailable

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ClientConfig, RetryConfig

_CONNECT_S = 3
_REQUEST_S = 30
_RETRIES: "RetryConfig" = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=10),
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=2),
        "base": 2,
    },
}


class ObjectFolder:
    """Objects under a prefix. Credentials are the environment's unless the URI has some."""

    def __init__(self, scheme: str, netloc: str, prefix: str, query: Mapping[str, str]) -> None:
        user, _, bucket = netloc.rpartition("@")
        at = prefix.strip("/") or None
        plain = query.get("scheme") == "http"
        client: ClientConfig = {
            "connect_timeout": f"{_CONNECT_S}s",
            "timeout": f"{_REQUEST_S}s",
            "allow_http": plain,
        }
        endpoint = query.get("endpoint_override")
        url = f"{'http' if plain else 'https'}://{endpoint}" if endpoint else None
        anonymous = query.get("anonymous") == "true"
        self._store: S3Store | GCSStore
        if scheme == "s3":
            options: Any = {
                "endpoint": url,
                "region": query.get("region"),
                "skip_signature": anonymous or None,
            }
            if user:
                key, _, secret = user.partition(":")
                options |= {"access_key_id": unquote(key), "secret_access_key": unquote(secret)}
            given = {name: value for name, value in options.items() if value is not None}
            self._store = S3Store(
                bucket, prefix=at, client_options=client, retry_config=_RETRIES, **given
            )
        else:
            account: Any = {"service_account_key": _account(url)} if url or anonymous else {}
            self._store = GCSStore(
                bucket,
                prefix=at,
                client_options=client,
                retry_config=_RETRIES,
                **account,
            )

    def read(self, path: str, limit: int | None = None) -> bytes:
        """See `Folder.read`."""
        with _faults():
            found = self._store.get(path)
            if limit is not None and found.meta["size"] > limit:
                raise TooLarge
            return found.bytes().to_bytes()

    def write(self, path: str, data: bytes, attributes: Mapping[str, str] | None = None) -> None:
        """See `Folder.write`: one request, after which the object is there in whole."""
        try:
            with _faults():
                self._store.put(path, data, attributes=dict(attributes or {}), use_multipart=False)
        except FileNotFoundError:  # the bucket itself
            raise unavailable() from None

    def touch(self, path: str) -> bool:
        """See `Folder.touch`."""
        del path
        return False

    def stat(self, path: str) -> FileInfo:
        """See `Folder.stat`."""
        with _faults():
            return _info(self._store.head(path))

    def delete(self, path: str, older_than_s: float = 0.0) -> bool:
        """See `Folder.delete`.

        Who writes the same in the milliseconds between look and deletion loses it: these stores
        cannot be asked for both at once.
        """
        found = self.stat(path)
        if older_than_s and found.modified_at > time.time() - older_than_s:
            return False
        with _faults():
            self._store.delete(path)
        return True

    def list_files(self) -> Iterator[FileInfo]:
        """See `Folder.list_files`."""
        batches = iter(self._store.list())
        while True:
            try:
                with _faults():
                    batch = next(batches, None)
            except FileNotFoundError:
                raise unavailable() from None
            if batch is None:
                return
            yield from map(_info, batch)

    def sweep(self, older_than_s: float) -> int:
        """Nothing is left behind: an object is there in whole or not at all."""
        del older_than_s
        return 0

    def check(self) -> None:
        """See `Folder.check`: one page of the listing."""
        next(self.list_files(), None)


def _account(base_url: str | None) -> str:
    """A service account that is none, for anonymous access or a server that imitates Google's."""
    account = {"disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
    return json.dumps({**account, "gcs_base_url": base_url} if base_url else account)


def _info(meta: "ObjectMeta") -> FileInfo:
    return FileInfo(meta["path"], meta["size"], meta["last_modified"].timestamp())


@contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except (BaseError, OSError, ValueError) as error:
        raise unavailable() from error
