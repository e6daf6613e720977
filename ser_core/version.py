"""The version, which stands here alone: that of an installation may be older than the code it runs, where a checkout was updated."""

VERSION = "0.2.0"
