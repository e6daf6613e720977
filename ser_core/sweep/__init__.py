"""A sweep: one SERRun in several variants, and what sets them apart. Pure."""
