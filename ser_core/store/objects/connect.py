"""From the spec's storage to a store."""

from pathlib import Path

from ser_core.api.spec.storage import StorageSpec
from ser_core.api.values.uris import split_s3
from ser_core.store.objects.file import FileStore
from ser_core.store.objects.port import ObjectStore
from ser_core.store.objects.retry import Retry


def connect(storage: StorageSpec, retry: Retry | None = None, *, stands: bool = False) -> ObjectStore:
    """The store that ``storage`` names; credentials come from the usual AWS environment and files. Nothing is sent yet.

    Args:
        storage: Where the store is.
        retry: How long a server is asked again.
        stands: It holds something already: a folder that is gone is then no empty store.
    """
    folder = folder_of(storage)
    if folder is not None:
        return FileStore(folder, stands=stands)
    from ser_core.store.objects.s3 import S3Store
    from ser_core.store.objects.s3_client import s3_client

    bucket, prefix = split_s3(storage.uri)
    patience = retry or Retry()
    client = s3_client(storage.endpoint, storage.region, storage.ca_bundle, storage.addressing, patience.try_seconds)
    return S3Store(client, bucket, prefix, patience)


def folder_of(storage: StorageSpec) -> Path | None:
    """The folder of a store on a file system; None: it is on a server."""
    return Path(storage.uri.removeprefix("file://")) if storage.uri.startswith("file://") else None
