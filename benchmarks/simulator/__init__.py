"""The service as a discrete-event simulation: what clusters do that this machine cannot be."""
