"""Engines of several processes: one for each way to cut what a training holds (`ser_core.learn.compute.distributed`)."""
