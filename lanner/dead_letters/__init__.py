"""Dead letters of topics and outboxes: filters in, letters and their replay out."""
