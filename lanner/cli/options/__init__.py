"""Options that several commands share: text in, typed values out."""
