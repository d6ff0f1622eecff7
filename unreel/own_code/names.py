"""How code of one's own is named.

"path/to/tubelet.py:barlow"   a file, and what is meant in it
"tubelet:barlow"              a module that Python finds, also in the current folder, and what is meant in it
"package.module"              a module alone, for a method
"package.module.Class"        the same as package.module:Class, for everything but a method
"""

TRANSFORMERS_PREFIX = "transformers:"
METHOD = "method"


def is_own_code(name: str) -> bool:
    """Whether a name is code outside unreel, which using it would run.

    >>> [is_own_code(name) for name in ("tiny", "net.py:Small", "net:Small", "transformers:videomae")]
    [False, True, True, False]
    """
    return not name.startswith(TRANSFORMERS_PREFIX) and ("." in name or ":" in name)


def is_file(reference: str) -> bool:
    """Whether the first part of a name is a file, not a module."""
    return reference.endswith(".py")


def split_name(name: str, kind: str = METHOD) -> tuple[str, str]:
    """The file or module of a name, and what is meant in it, "" where the name does not say.

    >>> split_name("path/to/tubelet.py:barlow"), split_name("package.module")
    (('path/to/tubelet.py', 'barlow'), ('package.module', ''))
    >>> split_name("package.module.Small", "backbone")
    ('package.module', 'Small')
    """
    if is_file(name):
        return name, ""
    file, mark, attribute = name.rpartition(".py:")
    if mark:
        return f"{file}.py", attribute
    if ":" not in name and kind != METHOD:
        reference, _, attribute = name.rpartition(".")
    else:
        reference, _, attribute = name.partition(":")
    return reference, attribute
