"""A real S3 server (versitygw), on loopback unless told otherwise, its objects in a folder."""

import json
import secrets
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ports import free_port

from controlplane.plane.build import binary
from controlplane.plane.part import Part
from controlplane.plane.watchdog import Watchdog

READY_SECONDS = 120
REGION = "us-east-1"


class S3Server:
    """Runs from entering the context to leaving it.

    Attributes:
        endpoint: URL of the server.
        access_key: With ``secret_key`` the root user's.
    """

    def __init__(self, folder: Path, host: str = "127.0.0.1", port: int | None = None) -> None:
        """Objects and the log go below ``folder``."""
        port = port or free_port()
        objects, self._users = folder / "objects", folder / "users"
        for made in (objects, self._users):
            made.mkdir(parents=True)
        self.endpoint = f"http://{host}:{port}"
        self.access_key, self.secret_key = "test-access", secrets.token_urlsafe(24)
        self._address = (host, port)
        self._watchdog = Watchdog()
        self._part = Part(
            "s3",
            [str(binary("versitygw")), "--port", f"{host}:{port}", "--region", REGION, "--quiet", *self._accounts(), "posix", str(objects)],
            folder,
            self._watchdog,
            {"ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": self.secret_key},
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()
        self._watchdog.close()

    @property
    def credentials(self) -> dict[str, str]:
        """What a Secret for a run holds, by key."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}

    def start(self) -> None:
        """Start the server, also again after `kill`: objects stay, so do port and keys."""
        self._part.start()
        deadline = time.monotonic() + READY_SECONDS
        while True:
            self._part.check()
            try:
                socket.create_connection(self._address, timeout=1).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL the server."""
        self._part.end()

    def _accounts(self) -> list[str]:
        return ["--iam-dir", str(self._users), "--iam-cache-disable"]

    def let_in(self, keys: Mapping[str, str]) -> None:
        """From now on these keys are good, each with its secret, and of all others only the root user's."""
        accounts = {access: {"access": access, "secret": secret, "role": "admin"} for access, secret in keys.items()}
        partial = self._users / "partial"
        partial.write_text(json.dumps({"accessAccounts": accounts}))
        partial.replace(self._users / "users.json")

    def client(self) -> Any:
        """A boto3 client; close it."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
        )

    def create_bucket(self, name: str) -> None:
        """Create an empty bucket."""
        client = self.client()
        try:
            client.create_bucket(Bucket=name)
        finally:
            client.close()
