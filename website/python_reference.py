"""The reference of Python's public face: each name of `unreel.__all__`, with its signature and its docstring."""

import inspect
import re
import textwrap
from typing import Any

from command_reference import escape

import unreel

SECTIONS = ("Args", "Returns", "Raises", "Yields")
MACHINERY = re.compile(r"\b(?:unreel|pathlib|collections\.abc|typing)\.(?:\w+\.)*(?=\w)")


def write_python_pages() -> dict[str, str]:
    """Pages by file name: the functions, and the classes."""
    objects = {name: getattr(unreel, name) for name in unreel.__all__}
    functions = {name: value for name, value in objects.items() if inspect.isfunction(value)}
    classes = {name: value for name, value in objects.items() if name not in functions}
    return {
        "functions.md": write_page("Python: functions", functions),
        "classes.md": write_page("Python: classes", classes),
    }


def write_page(title: str, objects: dict[str, Any]) -> str:
    text = "Made from the docstrings; their examples are run by the tests."
    return f"# {title}\n\n{text}\n\n" + "\n".join(write_object(f"unreel.{n}", o) for n, o in objects.items())


def write_object(name: str, value: Any) -> str:
    """Heading, signature, docstring; of a class also its own public methods."""
    text = f"## {name}\n\n{format_signature(name, value)}{format_docstring(inspect.getdoc(value) or '')}\n"
    if not inspect.isclass(value):
        return text
    methods = {n: m for n, m in vars(value).items() if inspect.isfunction(m) and not n.startswith("_")}
    return text + "".join(
        f"### {name}.{n}\n\n{format_signature(n, m)}{format_docstring(inspect.getdoc(m) or '')}\n"
        for n, m in methods.items()
    )


def format_signature(name: str, value: Any) -> str:
    """The signature, a parameter on each line, with short names of types."""
    if inspect.isclass(value) and issubclass(value, Exception):
        return ""
    signature = inspect.signature(value)
    lines = [f"    {format_parameter(p)}," for p in signature.parameters.values() if p.name != "self"]
    returns = "" if signature.return_annotation is inspect.Signature.empty else f" -> {name_type(signature)}"
    body = "\n" + "\n".join(lines) + "\n" if lines else ""
    return f"```python\n{name}({body}){returns}\n```\n\n"


def name_type(signature: inspect.Signature) -> str:
    return MACHINERY.sub("", inspect.formatannotation(signature.return_annotation)).replace("'", "")


def format_parameter(parameter: inspect.Parameter) -> str:
    """A parameter with short types; a default that has no short form is three dots."""
    text = MACHINERY.sub("", str(parameter))
    return re.sub(r"= <.*", "= ...", text)


def format_docstring(text: str) -> str:
    """Google's sections as lists of definitions, examples as code."""
    text, *examples = re.split(r"\n(?=>>> )", text, maxsplit=1)
    blocks = re.split(rf"^({'|'.join(SECTIONS)}):\n", text, flags=re.MULTILINE)
    parts = [format_prose(blocks[0])]
    for title, body in zip(blocks[1::2], blocks[2::2], strict=True):
        parts.append(f"**{title}**\n\n{format_section(body)}")
    parts += [f"```pycon\n{example.strip()}\n```" for example in examples]
    return "\n\n".join(filter(None, parts)) + "\n"


def format_prose(text: str) -> str:
    """Paragraphs; those that are indented are code."""
    paragraphs = text.strip().split("\n\n")
    return "\n\n".join(p if p.startswith("    ") else escape(p) for p in paragraphs)


def format_section(body: str) -> str:
    """`name: text` as definitions; anything else as a paragraph."""
    entries = re.sub(r"\n +", " ", textwrap.dedent(body).strip()).splitlines()
    return "\n".join(map(format_entry, filter(None, entries)))


def format_entry(line: str) -> str:
    found = re.match(r"(\*{0,2}\w+): (.*)", line)
    return f"`{found[1]}`\n:   {escape(found[2])}\n" if found else escape(line) + "\n"
