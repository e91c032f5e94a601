"""Rule tests from alerts: an alert in, the text of a test case out."""
