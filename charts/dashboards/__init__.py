"""The Grafana dashboards as code. `PYTHONPATH=charts python -m dashboards` writes their JSON into the chart."""
