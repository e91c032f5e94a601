"""Actions on what alerts are about: which a rule's alerts request, and what each would hit."""
