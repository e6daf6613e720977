"""The hostile catalogue: docs/security.md names the attacks and the tests, this runs and counts them."""
