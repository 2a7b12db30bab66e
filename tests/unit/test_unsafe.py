"""What runs code that came as data is not in the package: pickle, eval, unsafe YAML, arrays of objects."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import driftline

FOLDER = Path(driftline.__file__).parent
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
CALLS = {"eval", "exec", "compile", "__import__"}
YAML = {"load", "load_all", "unsafe_load", "unsafe_load_all", "full_load", "full_load_all"}
NUMPY = {"load", "fromfile", "loads", "fromstring"}


def unsafe(tree: ast.AST) -> Iterator[str]:
    """What a module does that it must not."""
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        yield from (f"imports {name}" for name in names if name.split(".")[0] in MODULES)
        if not isinstance(node, ast.Call):
            continue
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if isinstance(node.func, ast.Name) and node.func.id in CALLS:
            yield f"calls {node.func.id}"
        if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
            module, name = node.func.value.id, node.func.attr
            if module == "yaml" and name in YAML and given.get("Loader") != "_Loader":
                yield f"calls yaml.{name}"
            if module in {"np", "numpy"} and name in NUMPY and given.get("allow_pickle") != "False":
                yield f"calls {module}.{name}"
            if module == "os" and name in {"system", "popen"}:
                yield f"calls os.{name}"
        if given.get("shell") == "True" or given.get("allow_pickle") == "True":
            yield "shell or allow_pickle"


def test_the_package_runs_no_data() -> None:
    """Every module."""
    found = [
        f"{path.relative_to(FOLDER)}: {what}"
        for path in sorted(FOLDER.rglob("*.py"))
        for what in unsafe(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


def test_the_search_finds_what_it_looks_for() -> None:
    """Each kind once."""
    text = (
        "import pickle\nfrom dill import loads\neval('1')\nyaml.load(x)\nyaml.load(x, Loader=yaml.Loader)\n"
        "np.load(f)\nnp.load(f, allow_pickle=True)\nos.system('x')\nrun(x, shell=True)\n"
    )
    assert len(list(unsafe(ast.parse(text)))) == 10
    assert list(unsafe(ast.parse("yaml.load(x, Loader=_Loader)\nnp.load(f, allow_pickle=False)"))) == []


def test_the_loader_of_yaml_is_a_safe_one() -> None:
    """The one that is allowed above."""
    import yaml

    from driftline.config.load import _Loader

    assert issubclass(_Loader, yaml.SafeLoader)
