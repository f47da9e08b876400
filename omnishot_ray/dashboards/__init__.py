"""Dashboards and alert rules, made from the catalogue of metrics, for Grafana and Prometheus."""
