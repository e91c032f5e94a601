"""Commands that measure rules on what happened, and propose changes."""
