"""The client of S3: where it sends requests, whom it trusts, how long it waits."""

import os
import ssl
from typing import Any, Literal

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from ser_core.errors import SpecError, StoreRefused

WORKERS = 8


def s3_client(
    endpoint: str | None,
    region: str | None,
    ca_bundle: str | None,
    addressing: Literal["path", "virtual"] | None = None,
    try_seconds: float = 60.0,
) -> Any:
    """A thread-safe client. Of itself it sends checksums only where S3 always asks for them, since many servers know no others; those that
    an answer has are compared with its content, and a damaged answer is asked for again.

    Args:
        endpoint: URL of the server; None: AWS.
        region: Of the bucket.
        ca_bundle: PEM file with the authorities to trust.
        addressing: Where a request names the bucket; None: in its path for an endpoint, else as AWS wants it.
        try_seconds: How long the server may say nothing.

    Raises:
        SpecError: The endpoint is no URL, or the region none that the client knows a form of.
        StoreRefused: The authorities cannot be read (reason `StoreNotTrusted`).
    """
    if ca_bundle is not None:
        _check_authorities(ca_bundle)
    try:
        return _client(endpoint, region, ca_bundle, addressing or ("path" if endpoint else None), try_seconds)
    except (BotoCoreError, ValueError) as error:
        raise SpecError(f"storage.endpoint {endpoint!r} or storage.region {region!r} cannot be used: {error}") from error


def _check_authorities(path: str) -> None:
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:
        wrong = "it holds no certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        hint = "put a PEM file with the certificates of the authorities there"
        raise StoreRefused(f"storage.caBundle {path!r} cannot be used: {wrong}", reason="StoreNotTrusted", hint=hint) from error


def _client(
    endpoint: str | None, region: str | None, ca_bundle: str | None, addressing: Literal["path", "virtual"] | None, try_seconds: float
) -> Any:
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
        verify=ca_bundle,
        config=Config(
            retries={"total_max_attempts": 1},  # Retry is the one that retries
            connect_timeout=min(10.0, try_seconds),
            read_timeout=try_seconds,
            max_pool_connections=2 * WORKERS,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_supported",
            s3={"addressing_style": addressing} if addressing else None,
        ),
    )
    if endpoint is not None:
        client.meta.events.register_last("before-parameter-build.s3", _stay_there)
    return client


def _stay_there(context: dict[str, Any], **_: object) -> None:
    """botocore looks for a bucket in other regions of AWS. Behind an endpoint there are none, and it asks one that redirects for ever."""
    context.setdefault("s3_redirect", {})["redirected"] = True
