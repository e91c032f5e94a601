"""Items of rule files: YAML mappings in, lists, macros, rules and exceptions out."""
