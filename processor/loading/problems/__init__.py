"""Problems of rule files: checks and source locations in, text, JSON or annotations out."""
