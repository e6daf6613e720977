"""Where a run is, and how it is reached: file, store, cluster, processes of this machine."""
