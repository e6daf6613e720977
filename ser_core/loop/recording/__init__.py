"""What has happened, as the status keeps it: reports taken in, the evolution, Events, conditions."""
