"""How many bytes the values of an Arrow array are at least, once each stands for itself: a few bytes of a file may name one text a million
times, or a list of a billion nothings. Pure."""

import pyarrow as pa
import pyarrow.compute as pc

from ser_core.data.reading.files.rows import MAX_ROW_BYTES

BYTES_OF_A_VALUE = 8
"""What a value counts at least: one without content takes no room in a file, but time and a place in a list."""
_FEW = 64
"""Values that are unpacked to be weighed."""


def weight(batch: pa.RecordBatch) -> int:
    """Of all values of a batch; of those that are written out one by one, the bytes that Arrow itself counts."""
    rows: int = BYTES_OF_A_VALUE * batch.num_rows
    if all(map(_written_out, batch.schema.types)):
        return rows + int(batch.nbytes)
    return rows + sum(_weight(column) for column in batch.columns)


def _written_out(kind: pa.DataType) -> bool:
    """Whether every value of a type takes room of its own in a file."""
    if _is_list(kind):
        return _written_out(kind.value_type) and not (pa.types.is_fixed_size_list(kind) and kind.list_size == 0)
    if pa.types.is_map(kind):
        return _written_out(kind.key_type) and _written_out(kind.item_type)
    if pa.types.is_struct(kind):
        return kind.num_fields > 0 and all(_written_out(kind.field(number).type) for number in range(kind.num_fields))
    if pa.types.is_fixed_size_binary(kind):
        return bool(kind.byte_width > 0)
    return bool(pa.types.is_primitive(kind) or pa.types.is_decimal(kind)) or _is_text(kind)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_text(kind: pa.DataType) -> bool:
    return any(same(kind) for same in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary))


def _is_view(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string_view(kind) or pa.types.is_binary_view(kind))


def _weight(array: pa.Array) -> int:
    kind = array.type
    if _written_out(kind):
        content = array.nbytes
    elif pa.types.is_null(kind):
        content = 0
    elif _is_view(kind):
        content = _of_views(array)
    elif isinstance(array, pa.DictionaryArray):
        content = _of_dictionary(array)
    elif isinstance(array, pa.ExtensionArray):
        content = _weight(array.storage)
    elif isinstance(array, pa.RunEndEncodedArray) and len(array) <= _FEW:
        content = _weight(pc.run_end_decode(array))
    else:
        content = _of_parts(array)
    return BYTES_OF_A_VALUE * len(array) + int(content)


def _of_parts(array: pa.Array) -> int:
    """Of what structures and lists hold."""
    kind = array.type
    if pa.types.is_struct(kind):
        return sum(map(_weight, array.flatten()))
    if pa.types.is_map(kind):
        first, last = array.offsets[0].as_py(), array.offsets[len(array)].as_py()
        return _weight(array.keys[first:last]) + _weight(array.items[first:last])
    if _is_list(kind):
        inside = BYTES_OF_A_VALUE * int(pc.sum(pc.list_value_length(array)).as_py() or 0)
        return inside if inside > MAX_ROW_BYTES else _weight(array.flatten())
    if (pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind)) and len(array) <= _FEW:
        places = zip(array.offsets.to_pylist(), array.sizes.to_pylist(), strict=True)
        return sum(_weight(array.values.slice(start, length)) for start, length in places)
    return len(array) * int(array.nbytes)  # each may be the whole of what stands there


def _of_dictionary(array: pa.DictionaryArray) -> int:
    if not _is_text(array.dictionary.type):
        return len(array) * _weight(array.dictionary)
    lengths = pc.cast(pc.binary_length(array.dictionary), pa.int64())
    return int(pc.sum(pc.take(lengths, array.indices)).as_py() or 0)


def _of_views(array: pa.Array) -> int:
    """Bytes of texts that lie anywhere: a view is 16 bytes, and begins with the length."""
    numbers = memoryview(array.buffers()[1]).cast("i")
    return sum(numbers[4 * array.offset : 4 * (array.offset + len(array)) : 4])
