"""Commands on a fleet's rules: publishes rule files as a version, reads it back, shows its rollout."""
