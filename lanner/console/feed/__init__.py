"""Input and output of the view: alerts, people's marks, and the audit log."""
