"""etcd, API server, controllers, scheduler, S3 server and Prometheus as processes, and what builds them."""
