"""A batch under construction: columns that grow, and each text kept once."""

from array import array

from schemas.batch import empty_columns


class BatchBuilder:
    """Collects the events of one batch; full by count or by size."""

    __slots__ = ("_known", "columns", "count", "size", "strings")

    def __init__(self) -> None:
        """Begin an empty batch."""
        self.columns: dict[str, array[int]] = empty_columns()
        self.strings: list[str | None] = [None]
        self.count = 0
        self.size = 0
        """Bytes of text so far: what makes a batch large."""
        self._known: dict[str, int] = {}

    def intern(self, text: str | None) -> int:
        """Give a text's index; 0 for None."""
        if text is None:
            return 0
        index = self._known.get(text)
        if index is None:
            index = self._known[text] = len(self.strings)
            self.strings.append(text)
            self.size += len(text)
        return index

    def add(self, values: dict[str, int], arguments: list[tuple[str, str | None, int]]) -> None:
        """Append one event: a value for each column, and its arguments (name, text, number)."""
        columns = self.columns
        for name, value in values.items():
            columns[name].append(value)
        names, texts, numbers = columns["arg_name"], columns["arg_value"], columns["arg_raw"]
        for name, text, number in arguments:
            names.append(self.intern(name))
            texts.append(self.intern(text))
            numbers.append(number)
        columns["arg_start"].append(len(names))
        self.count += 1
