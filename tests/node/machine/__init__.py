"""A machine that is a whole cluster: its control plane, one or two nodes, their network, DNS and policies."""
