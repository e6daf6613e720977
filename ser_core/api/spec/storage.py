"""Where everything is kept and fetched from, and how it is reached."""

from typing import Literal, Self

from pydantic import Field, model_validator

from ser_core.api.model import Model
from ser_core.api.values.forms import DataKey, Endpoint, Name, Region, SecretName
from ser_core.api.values.uris import StorageUri


class AuthoritiesFrom(Model):
    """One key of a Secret or ConfigMap of the run's namespace, with certificates in PEM."""

    secret: SecretName | None = None
    """Name of the Secret; or give `configMap`."""
    config_map: Name | None = None
    """Name of the ConfigMap; or give `secret`."""
    key: DataKey = "ca.crt"
    """The key in it."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.secret is None) == (self.config_map is None):
            raise ValueError("give either secret or configMap")
        return self


class StorageAccess(Model):
    """How the storage is reached, and what is kept in it."""

    endpoint: Endpoint | None = None
    """URL of an S3-compatible server, without credentials; left out: AWS."""
    region: Region | None = None
    """Region of the bucket; left out: AWS_REGION, else us-east-1."""
    ca_bundle: str | None = Field(default=None, max_length=1000)
    """PEM file with the certificate authorities to trust for the endpoint. On a cluster stages take `caBundleFrom` in its place."""
    ca_bundle_from: AuthoritiesFrom | None = None
    """Where the stages on a cluster find these authorities. `ser` itself uses `caBundle`, else AWS_CA_BUNDLE."""
    addressing: Literal["path", "virtual"] | None = None
    """Where a request names the bucket: in its path, or in the host name. Left out: `path` for an `endpoint`, else as AWS does."""
    credentials_secret: SecretName | None = None
    """Name of the Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, mounted into the stages. `ser run`
    uses the AWS environment and files instead."""
    retain: Literal["best", "all"] = "all"
    """`all` keeps every reward model. `best` removes the weights of those that nothing needs any more while the run goes on: the best
    one stays, without a policy also the newest, since loops may follow; evaluations and labels stay too. A run that another one took
    stages over from keeps all."""


class StorageSpec(StorageAccess):
    """Where everything that the run makes is kept."""

    uri: StorageUri
    """`s3://bucket/prefix`, or `file://` (only `ser run`; `file://./x` is relative to the SERRun's own file)."""


class HubSpec(Model):
    """The model and dataset hub. Only `prepare` reaches it."""

    endpoint: Endpoint | None = None
    """URL of a hub or mirror; left out: HF_ENDPOINT, else the public hub."""
    credentials_secret: SecretName | None = None
    """Name of the Secret with HF_TOKEN for gated models. `ser run` uses HF_TOKEN from the environment instead, for the public
    hub, or for that of HF_ENDPOINT alone."""
