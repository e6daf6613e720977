"""Stage processes: one module per stage plus the runtime that they share. No kopf, no kubernetes."""
