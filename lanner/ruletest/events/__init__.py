"""Events of rule tests: YAML nodes in, events and processes out."""
