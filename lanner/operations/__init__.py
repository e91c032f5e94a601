"""What operators see of a stage: metrics, health, and the small HTTP server that shows both."""
