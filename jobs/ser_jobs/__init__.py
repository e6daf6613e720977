"""Stage processes: ``stages`` compute, ``process`` runs one of them, ``supervisor`` watches over the processes. No kopf, no kubernetes."""
