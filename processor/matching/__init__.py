"""One event in, the parts of stateful rules that it satisfies out."""
