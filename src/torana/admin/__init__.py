"""What operators ask the process: metrics, readiness, and the configuration that runs."""
