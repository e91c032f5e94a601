"""People behind processes: alerts name who requested a command in a pod, or logged in by SSH."""
