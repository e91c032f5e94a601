"""Problems of rule files: a fault and its location in, text, JSON or annotations out."""
