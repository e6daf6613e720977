"""From the spec's storage to a store."""

from pathlib import Path

from ser_core.api.serrun import StorageSpec
from ser_core.api.uris import split_s3
from ser_core.store.file import FileStore
from ser_core.store.port import ObjectStore
from ser_core.store.retry import Retry


def connect(storage: StorageSpec, retry: Retry | None = None) -> ObjectStore:
    """The store that ``storage`` names; credentials come from the usual AWS environment and files. Nothing is sent yet."""
    if storage.uri.startswith("file://"):
        return FileStore(Path(storage.uri.removeprefix("file://")))
    from ser_core.store.s3 import S3Store, s3_client

    bucket, prefix = split_s3(storage.uri)
    return S3Store(s3_client(storage.endpoint, storage.region, storage.ca_bundle), bucket, prefix, retry)
