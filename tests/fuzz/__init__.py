"""What must hold of any text whatever: rule files, conditions and test files may come from anybody."""
