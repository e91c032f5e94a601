"""An alert as a document of a SIEM's schema; pure, one mapping table a schema."""
