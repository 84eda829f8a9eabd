"""Reading YAML strictly: one document, one mapping, plain values, no surprises."""

import math
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from t2f.errors import SpecError

MAX_BYTES = 1 << 20
MAX_DEPTH = 20
MAX_WHOLE = 2**63 - 1  # what a database column holds


class _WrongLineError(Exception):
    """What is wrong in a line of the text, counted from 1, and in which key of which key."""

    def __init__(self, line: int, what: str, path: Sequence[str] = ()) -> None:
        super().__init__(what)
        self.line, self.what, self.path = line, what, tuple(path)


class LinedDict(dict[str, Any]):
    """A mapping of a file, which knows the lines that it and its keys stand in, counted from 1."""

    line: int
    lines: Mapping[str, int]  # of the keys


class _StrictLoader(yaml.SafeLoader):
    """YAML's plain types only; a key given twice, an alias and a foreign tag are errors."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            event = self.peek_event()
            # A few nested aliases stand for billions of values, and no sweep file needs one.
            raise _WrongLineError(event.start_mark.line + 1, f"an alias (*{event.anchor}) is not allowed; write it out")
        self.depth = getattr(self, "depth", 0) + 1
        if self.depth > MAX_DEPTH:
            line = self.peek_event().start_mark.line + 1
            raise _WrongLineError(line, f"values are nested deeper than {MAX_DEPTH} levels; flatten them")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            return super().construct_object(node, deep=deep)
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, LookupError, AttributeError) as error:
            # PyYAML reads a value as its tag says (`!!bool x`), and raises whatever comes where it is none.
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            raise _WrongLineError(
                node.start_mark.line + 1,
                f"not valid YAML: {node.value!r:.100} cannot be read as {tag}; "
                "write a plain word or number, without a tag",
            ) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise _WrongLineError(line, "a key must be a word or a number, not a list or a mapping")
            if key_node.tag == "tag:yaml.org,2002:merge":
                raise _WrongLineError(line, "a merge key (<<) is not allowed; write the values out")
            key = self.construct_object(key_node)
            if not isinstance(key, Hashable):
                raise _WrongLineError(line, f"a key must be a word or a number, not {key_node.value!r:.100} with a tag")
            if key in seen:
                raise _WrongLineError(line, f"the key {key!r} is given twice; keep one")
            seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def construct_lined(self, node: yaml.MappingNode) -> Iterator[LinedDict]:
        found = LinedDict()
        yield found  # empty at first: PyYAML builds what surrounds a mapping before the mapping
        found.update(self.construct_mapping(node))
        found.line = node.start_mark.line + 1
        found.lines = {self.construct_object(key): key.start_mark.line + 1 for key, _ in node.value}


_StrictLoader.add_constructor("tag:yaml.org,2002:map", _StrictLoader.construct_lined)
yaml.SafeDumper.add_representer(LinedDict, yaml.SafeDumper.represent_dict)


# Plain words and numbers as YAML 1.2 reads them. YAML 1.1 takes 1e-4 for a string, `on` and `no` for booleans, 010 for
# eight and 1:30 for ninety; nobody means that, and a setting may have the values off and on.
_BOOLEAN = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_WHOLE = re.compile(r"^[-+]?(?:0|[1-9][0-9_]*)$")
_NOT_FINITE = re.compile(r"^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$")
_FLOAT = re.compile(
    r"^[-+]?(?:[0-9][0-9_]*)?\.?[0-9]+[eE][-+]?[0-9]+$|^[-+]?[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?$|^[-+]?\.[0-9]+$"
)
_OURS = {
    "tag:yaml.org,2002:bool": ("tTfF", (_BOOLEAN,)),
    "tag:yaml.org,2002:int": ("-+0123456789", (_WHOLE,)),
    "tag:yaml.org,2002:float": ("-+0123456789.", (_FLOAT, _NOT_FINITE)),
}
_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _OURS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, (_firsts, _patterns) in _OURS.items():
    for _pattern in _patterns:
        _StrictLoader.add_implicit_resolver(_tag, _pattern, list(_firsts))


def read_yaml(path: Path) -> tuple[dict[str, Any], str]:
    """The mapping in a file, and its text; SpecError names the file and what is wrong with it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SpecError(f"{path} cannot be read: {error.strerror}; give the path of a YAML file") from error
    if len(content) > MAX_BYTES:
        raise SpecError(f"{path} has {len(content):,} bytes; at most {MAX_BYTES:,} are read")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}, byte {error.start}: not UTF-8 text; save the file as UTF-8") from error
    return parse_yaml(text, source=str(path)), text


def parse_yaml(text: str, *, source: str) -> dict[str, Any]:
    """The mapping that a text holds, and each inside it, as a `LinedDict`; `source` is what errors call the text."""
    try:
        return _parsed(text, source)
    except _WrongLineError as wrong:
        raise SpecError(": ".join((f"{source}, line {wrong.line}", *wrong.path, wrong.what))) from wrong


def parse_lineless(text: str, *, source: str) -> dict[str, Any]:
    """As `parse_yaml`, of what stands in no file that a person could look at: errors name no line."""
    try:
        return _without_lines(_parsed(text, source))
    except _WrongLineError as wrong:
        raise SpecError(": ".join((source, *wrong.path, wrong.what))) from wrong


def parse_value(text: str, *, source: str) -> Any:
    """One value, as somebody writes it on a command line."""
    try:
        return _without_lines(_parsed(f"value: {text}", source))["value"]
    except _WrongLineError as wrong:
        # The key is ours: nobody wrote it.
        raise SpecError(": ".join((source, *wrong.path[1:], wrong.what))) from wrong


def _parsed(text: str, source: str) -> LinedDict:
    """The mapping of the text's only document, or _WrongLineError, or SpecError where no line is to blame."""
    try:
        documents = list(yaml.load_all(text, Loader=_StrictLoader))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        character = chr(error.character) if isinstance(error.character, int) else error.character
        raise _WrongLineError(line, f"not valid YAML: the character {character!r} is not allowed; remove it") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        what = f"not valid YAML: {getattr(error, 'problem', None) or error}"
        mark = getattr(error, "problem_mark", None)
        raise (_WrongLineError(mark.line + 1, what) if mark else SpecError(f"{source}: {what}")) from error
    if not documents or documents == [None]:
        raise SpecError(f"{source} is empty; it must hold 'key: value' lines")
    if len(documents) > 1:
        raise SpecError(f"{source} holds {len(documents)} documents; give one, without '---' between")
    if not isinstance(documents[0], dict):
        kind = "a list" if isinstance(documents[0], list) else "a single value"
        raise SpecError(f"{source} holds {kind} at its root; it must hold 'key: value' lines")
    _refuse_strange(documents[0], 1, ())
    return documents[0]


def _without_lines(value: Any) -> Any:
    """The same with plain mappings: of what stands in no file that a person could look at."""
    if isinstance(value, dict):
        return {key: _without_lines(inner) for key, inner in value.items()}
    return [_without_lines(inner) for inner in value] if isinstance(value, list) else value


def _refuse_strange(value: Any, line: int, path: Sequence[str]) -> None:
    """Not-a-number, infinity, numbers no database holds, text no file holds, keys that are no words, dates."""
    if isinstance(value, LinedDict):
        for key, inner in value.items():
            if not isinstance(key, str | int):
                raise _WrongLineError(line, f"the key {key!r} is not allowed; keys are words", path)
            _refuse_strange(inner, value.lines[key], (*path, str(key)))
    elif isinstance(value, list):
        for inner in value:
            _refuse_strange(inner, inner.line if isinstance(inner, LinedDict) else line, path)
    elif (what := _strange(value)) is not None:
        raise _WrongLineError(line, what, path)


def _strange(value: Any) -> str | None:
    """Why a single value is not allowed."""
    if isinstance(value, str):
        if _is_encodable(value):
            return None
        return f"{value!r:.100} holds half a character (a lone surrogate); write the character itself"
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int):
        if -MAX_WHOLE <= value <= MAX_WHOLE:
            return None
        return f"a whole number beyond {MAX_WHOLE} is not allowed; give a smaller one"
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{value} is not allowed; give a finite number"
    return f"{value!r} is not allowed; put text in quotes"


def _is_encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
