"""Writers' schemas: a message's schema id in, the schema to decode it with out."""
