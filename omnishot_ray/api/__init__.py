"""The HTTP face: routes, parameters, problem+json. Knows an `Optimizer`, not Ray."""
