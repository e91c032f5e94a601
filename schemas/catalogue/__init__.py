"""The catalogue: names of fields, event types and flags in, what each means out."""
