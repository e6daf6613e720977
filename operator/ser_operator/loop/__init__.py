"""The loop of the process: watches fill the queue, workers take one run at a time and reconcile it."""
