"""What sets of rules detect in one run of attack steps: a recording comes in, docs/detection.md goes out."""
