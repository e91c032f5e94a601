"""Rule tests from alerts: takes an alert, returns the text of a test case."""
