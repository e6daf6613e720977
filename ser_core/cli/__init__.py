"""The ``ser`` command line."""
