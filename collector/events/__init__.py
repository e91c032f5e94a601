"""From kernel records to rows: a decoded record in, one event of a batch out."""
