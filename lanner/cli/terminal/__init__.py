"""What people see on a terminal: values in, safe lines out."""
