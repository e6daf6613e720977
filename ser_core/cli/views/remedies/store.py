"""Of the store (ser_core.store)."""

from ser_core.cli.views.remedies.remedy import Remedy, Then

STORE = (
    Remedy(
        ("StoreUnavailable", "StoreError"),
        "the object store does not answer",
        "check that storage.endpoint is right and that the pods can reach it; the run tries again by itself",
        here="check that this machine reaches storage.endpoint, or the folder of storage.uri; the run tries again by itself",
    ),
    Remedy(("StoreFull",), "the store has no space left", "free some; the run tries again by itself"),
    Remedy(
        ("BucketNotFound",),
        "the store has no bucket of the name in storage.uri",
        "create it, and the run goes on by itself; if the name is wrong, make a new run",
    ),
    Remedy(
        ("StoreAccessDenied",),
        "the store refuses the credentials",
        "put keys that may read, write, list and delete there into storage.credentialsSecret; if it names none, make a new run that does",
        here="make a folder writable; for a bucket put keys that may read, write, list and delete there into the AWS environment or files",
    ),
    Remedy(
        ("StoreMisaddressed",),
        "what answers at storage.endpoint is no S3 server, or not that of the bucket's region",
        "let the S3 server answer there; if endpoint, region or addressing of storage is wrong, make a new run with the right one",
    ),
    Remedy(
        ("StoreNotTrusted",),
        "the certificate of the store is of no known authority, or of another name",
        "put the authority into what storage.caBundleFrom names; if it names nothing, make a new run that does",
        here="put the authority into the file of storage.caBundle or AWS_CA_BUNDLE",
    ),
    Remedy(("ClockSkewed",), "the clock of the node and that of the store differ by minutes", "set the wrong clock right"),
    Remedy(
        ("RequestTooLarge",),
        "the store, or a proxy before it, takes only smaller requests",
        "let it take requests of 16 MiB; a proxy of nginx: client_max_body_size 17m",
    ),
    Remedy(("StoreRefused",), "the store refuses what it is asked", "do what its answer in the message says"),
    Remedy(
        ("CredentialsMissing",),
        "a Secret has none of the keys that are looked for",
        "write AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or HF_TOKEN, into it; the next attempt reads them",
    ),
    Remedy(
        ("StoreNotConsistent", "StoreLacksConditionalWrites"),
        "the store lacks a guarantee that commits need",
        "use a store with read-after-write consistency and If-None-Match: * (AWS S3, MinIO, versitygw)",
        Then.ANEW,
    ),
    Remedy(
        ("CorruptObject", "InputChanged", "ObjectChanged", "ObjectNotFound", "ManifestVanished"),
        "an object of the run was damaged, replaced or removed in the store",
        "restore the object, and let nobody else write under the run's prefix; if it cannot be restored, begin another run",
    ),
    Remedy(
        ("ModelRemoved",),
        "a reward model that is asked for was removed from the store, as storage.retain: best says",
        "use the run's best model; another run with storage.retain: all keeps every one",
        Then.ANEW,
    ),
)
