"""What web pages tell of their visitors, and what the operator reads of it."""

from omnishot_ray.api.analytics.analysis import build_analysis_routes
from omnishot_ray.api.analytics.routes import build_analytics_routes

__all__ = ["build_analysis_routes", "build_analytics_routes"]
