"""One key of a JSON file is changed and every other byte stays."""

import json
import random

import pytest

from resnet_tf.presets import json_text

ROWS = [{"run": "größer/1", "lr": 5e-4}, {"run": "b", "changed": {"a": [1, 2]}}]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{\n  "a": 5e-4,\n  "results": []\n}\n', '{\n  "a": 5e-4,\n  "results": [\n    ROW,\n    ROW\n  ]\n}\n'),
        ('{\n  "a": 5e-4\n}', '{\n  "a": 5e-4,\n  "results": [\n    ROW,\n    ROW\n  ]\n}'),  # no final line end
        ('{\r\n\t"a" : 1 }\r\n', '{\r\n\t"a" : 1,\r\n\t"results": [\r\n\t\tROW,\r\n\t\tROW\r\n\t] }\r\n'),
        (
            '{\n    "results" :  [ {"run": 1},\n {} ] ,\n    "b": {"results": [ ]}}',
            '{\n    "results" :  [\n        ROW,\n        ROW\n    ] ,\n    "b": {"results": [ ]}}',
        ),
        ('{"a": "\\"results\\": []", "b": 1}', '{"a": "\\"results\\": []", "b": 1, "results": [\n  ROW,\n  ROW\n]}'),
        (
            '{\n\t"a": 1, "b": 2}',  # as the last line that begins with a key
            '{\n\t"a": 1, "b": 2,\n\t"results": [\n\t\tROW,\n\t\tROW\n\t]}',
        ),
        ('\n{\n"a": 1e5\n\n}\n\n', '\n{\n"a": 1e5,\n"results": [\n  ROW,\n  ROW\n]\n\n}\n\n'),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_only_the_value_changes(before, after, encoding):
    for row in ROWS:
        after = after.replace("ROW", json.dumps(row, ensure_ascii=False), 1)
    assert json_text.with_lines(before.encode(encoding), "results", ROWS) == after.encode(encoding)


def test_an_empty_list_takes_the_rows_away():
    assert json_text.with_lines(b'{\n "results": [\n  1,\n  2\n ]\n}', "results", []) == b'{\n "results": []\n}'


def test_whatever_the_layout_the_rest_is_the_same_bytes():
    draw = random.Random(2)

    def space() -> str:
        return "".join(draw.choices([" ", "\t", "\n", "\r\n", ""], [4, 1, 2, 1, 4], k=draw.randint(0, 3)))

    def number() -> str:
        return draw.choice(["5e-4", "1.50", "-0", "1E+2", "123456789012345678901234567890", "0.1"])

    def value(levels: int) -> str:
        kind = draw.randrange(5 if levels else 3)
        if kind == 0:
            return number()
        if kind < 3:
            return draw.choice(['"results"', '"\\u00e9 {["', '"é\\\\"', "true", "null", '"\\""'])
        items = [value(levels - 1) for _ in range(draw.randint(0, 3))]
        if kind == 3:
            return f"[{space()}" + f"{space()},{space()}".join(items) + f"{space()}]"
        return f"{{{space()}" + ",".join(f'{space()}"k{i}"{space()}:{space()}{v}' for i, v in enumerate(items)) + "}"

    for trial in range(300):
        keys = [f"k{i}" for i in range(draw.randint(1, 4))]
        pairs = [f'{space()}"{key}"{space()}:{space()}{value(3)}{space()}' for key in keys]
        place = draw.randint(0, len(pairs))
        head, old = f'{space()}"results"{space()}:{space()}', f"[{space()}]"
        there = trial % 2
        if there:
            pairs.insert(place, f"{head}{old}{space()}")
        text = f"{space()}{{" + ",".join(pairs) + f"}}{space()}"
        found = json_text.with_lines(text.encode(), "results", ROWS).decode()
        assert json.loads(found) == {**json.loads(text), "results": ROWS}
        if there:
            before, _, behind = text.partition(head + old)
            assert found.startswith(before + head + "[")
            assert found.endswith("]" + behind)
        else:
            end = text.rstrip()[:-1].rstrip()
            assert found.startswith(end + ",")
            assert found.endswith("]" + text[len(end) :])
