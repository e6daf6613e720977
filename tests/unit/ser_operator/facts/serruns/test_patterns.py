"""Patterns match what a value means to who uses it, and not its letters."""

import pytest

from ser_core.api.guarded import AllowList
from ser_core.api.values.endpoints import server
from ser_operator.facts.serruns.patterns import is_allowed

ENDPOINTS = [
    ("https://s3.corp.example", "https://*.corp.example", True),
    ("https://S3.Corp.Example.", "https://*.corp.example", True),
    ("https://s3.corp.example:443/", "https://s3.corp.example", True),
    ("https://evil.com#.corp.example", "https://*.corp.example", False),
    ("https://evil.com/.corp.example", "https://*.corp.example", False),
    ("https://evil.com?.corp.example", "https://*.corp.example", False),
    ("https://evil.com\\.corp.example", "https://*.corp.example", False),
    ("https://evil.com%2f.corp.example", "https://*.corp.example", False),
    ("https://s3.corp.example@evil.com", "https://s3.corp.example*", False),
    ("https://s3.corp.example.evil.com", "https://s3.corp.example", False),
    ("http://s3.corp.example", "https://s3.corp.example", False),
    ("https://s3.corp.example:8443", "https://s3.corp.example", False),
    ("https://s3.corp.example:8443", "https://s3.corp.example:*", True),
    ("http://minio.store:9000", "http://minio.store:9000", True),
    ("http://minio.store:9001", "http://minio.store:9000", False),
    ("http://[::1]:9000", "http://[0:0:0:0:0:0:0:1]:9000", True),
    ("http://[::1]:9000", "http://*:9000", True),
    ("http://[fd00::1]", "http://[fd00::2]", False),
    ("http://[::1", "http://*", False),
    ("https://gate.example/s3/v1", "https://gate.example/s3", True),
    ("https://gate.example/s3-evil", "https://gate.example/s3", False),
    ("https://gate.example/s3/../admin", "https://gate.example/s3", False),
    ("https://gate.example/s3/%2e%2E/admin", "https://gate.example/s3", False),
    ("https://gate.example/s3/../admin", "https://gate.example", True),
    ("https://any.example:1", "*", True),
]


@pytest.mark.parametrize(("endpoint", "pattern", "allowed"), ENDPOINTS, ids=[f"{value} {pattern}" for value, pattern, _ in ENDPOINTS])
def test_endpoints_are_compared_as_urls(endpoint, pattern, allowed):
    assert is_allowed(endpoint, [pattern], AllowList.ENDPOINTS) is allowed


@pytest.mark.parametrize(
    ("uri", "patterns", "allowed"),
    [
        ("hf://datasets/org/data@main", ["hf://org/data"], True),
        ("hf://org/data-of-others", ["hf://org/data"], False),
        ("hf://org/secret", ["hf://*", "!hf://org/*"], False),
        ("hf://datasets/ORG/secret", ["hf://*", "!hf://org/*"], False),
        ("s3://bucket/a", ["s3://bucket/*"], True),
        ("s3://bucket-of-others/a", ["s3://bucket/*"], False),
        ("s3://bucket", ["s3://bucket/*"], False),
        ("s3://bucket/a", [], False),
        ("s3://bucket/a", ["!s3://other/*"], False),
        ("s3://bucket/secret", ["s3://*", "!s3://bucket/secret/*"], False),
        ("s3://bucket/a/./secret/x", ["s3://*", "!s3://bucket/a/secret/*"], False),
        ("s3://bucket/./SECRET/.", ["s3://*", "!s3://bucket/secret/*"], False),
        ("s3://bucket", ["s3://*", "!s3://bucket/secret/*"], False),
        ("s3://bucket/a", ["s3://*", "!s3://bucket/a/b/*.jsonl"], False),
        ("s3://bucket/a", ["s3://*", "!s3://bucket/ab/*"], True),
        ("s3://bucket/a", ["s3://*", "!s3://*secret*"], True),
        ("s3://other", ["s3://*", "!s3://bucket/secret/*"], True),
        ("hf://org/secret", ["hf://*", "!hf://datasets/org/secret"], False),
        ("hf://datasets/org/secret@main", ["hf://*", "!hf://datasets/org/*"], False),
        ("hf://org/open", ["hf://*", "!hf://datasets/org/secret"], True),
    ],
)
def test_what_is_read_is_compared_by_what_it_names(uri, patterns, allowed):
    assert is_allowed(uri, patterns, AllowList.READ) is allowed


@pytest.mark.parametrize(("uri", "allowed"), [("s3://bucket", True), ("s3://bucket/secret", False), ("s3://bucket/secret/a", False)])
def test_a_run_may_be_stored_above_what_is_forbidden_and_not_in_it(uri, allowed):
    """It writes to a folder of its namespace and name there, and to no other."""
    assert is_allowed(uri, ["s3://*", "!s3://bucket/secret/*"], AllowList.WRITE) is allowed


@pytest.mark.parametrize(("patterns", "allowed"), [(["*"], True), (["*", "!node-role.kubernetes.io/*"], False), (["gpu"], False)])
def test_a_toleration_of_every_taint_tolerates_the_forbidden_ones(patterns, allowed):
    assert is_allowed("*", patterns, AllowList.TOLERATIONS) is allowed


@pytest.mark.parametrize(
    ("endpoint", "loopback"),
    [
        ("http://127.0.0.1:9000", True),
        ("http://127.9.9.9", True),
        ("http://[::1]", True),
        ("http://localhost:1", True),
        ("http://localhost.evil.com", False),
        ("http://127.0.0.1.evil.com", False),
        ("http://10.0.0.1", False),
        ("http://0x7f000001", False),
    ],
)
def test_loopback_is_what_nobody_else_can_answer_for(endpoint, loopback):
    assert server(endpoint).is_loopback is loopback
