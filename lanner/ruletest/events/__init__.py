"""Events of rule tests: takes YAML nodes, returns events and processes."""
