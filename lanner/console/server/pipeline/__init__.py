"""The view Pipeline: what waits for whom, and dead letters with their replay."""
