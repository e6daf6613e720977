"""The ``ser`` command line: `app` names the `commands`, which find a run by `access` and show it by `views`."""
