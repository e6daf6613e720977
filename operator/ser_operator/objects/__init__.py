"""From decisions to objects of the cluster: Jobs, gangs, Services, labels, Events. Pure."""
