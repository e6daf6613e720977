"""Who answers where on the node's own network (`sandbox.sh` gives the addresses)."""

NODE = "10.77.0.1"
SECOND_NODE = "10.77.0.2"
STORE = "10.77.0.10"
HUB = "10.77.0.20"
DNS = "10.77.0.53"

API_SERVER_PORT = 6443
STORE_PORT = 7070
HUB_PORT = 8081

SERVICES = "10.96.0.0/24"
API_SERVICE = "10.96.0.1"
DNS_SERVICE = "10.96.0.10"
PODS = "10.88.0.0/16"
