"""What comes into the view and goes out of it: alerts, people's marks, and the audit log."""
