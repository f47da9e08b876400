"""The service on Ray Serve: gateway, lanes, queue, replicas. The dispatch itself knows no Ray."""
