"""SERRuns that are odd but allowed: made from the CRD's own schema, so that a new field is tried as soon as it exists."""
