"""No code of ours unpickles, evaluates or trusts code that comes with data."""

import ast
from pathlib import Path

import pytest

from cli import PACKAGES

ROOT = Path(__file__).parent.parent
FILES = [ROOT / "cli.py", *(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))]
FORBIDDEN = {
    "eval",
    "exec",
    "joblib.load",
    "marshal.loads",
    "pandas.read_pickle",
    "pickle.load",
    "pickle.loads",
    "pickle.Unpickler",
    "shelve.open",
    "torch.load",
    "torch.jit.load",
    "yaml.load",
}
ALLOWED = {
    # What our own workers have put into the command's mailbox: with all else that they send, Ray
    # does the same.
    "commands/ray_training.py": ["pickle.loads"],
}
REQUIRED = {
    "np.load": {"allow_pickle": False},
    "AutoConfig.from_pretrained": {"trust_remote_code": False},
    "AutoTokenizer.from_pretrained": {"trust_remote_code": False},
    "AutoModel.from_pretrained": {"trust_remote_code": False, "use_safetensors": True},
    "BertModel.from_pretrained": {"use_safetensors": True},
    "ViTModel.from_pretrained": {"use_safetensors": True},
}


def calls(text):
    """Yield each call of a Python text: its dotted name and its keyword arguments."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            keywords = {
                keyword.arg: keyword.value.value
                for keyword in node.keywords
                if isinstance(keyword.value, ast.Constant)
            }
            yield ast.unparse(node.func), keywords


def faults(text):
    """Return the calls of a Python text that are not allowed."""
    found = []
    for name, keywords in calls(text):
        if name in FORBIDDEN:
            found.append(name)
        found += [
            f"{name} without {key}={value}"
            for key, value in REQUIRED.get(name, {}).items()
            if keywords.get(key) is not value
        ]
        if name.endswith("from_pretrained") and name not in REQUIRED:
            found.append(f"{name}, which is not listed here")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_unpickled_evaluated_or_trusted(path):
    allowed = ALLOWED.get(path.relative_to(ROOT).as_posix(), [])
    assert faults(path.read_text(encoding="utf-8")) == allowed


@pytest.mark.parametrize(
    "text",
    [
        "torch.load(path)",
        "x = pickle.loads(data)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "AutoModel.from_pretrained(name, trust_remote_code=False)",
        "SomeModel.from_pretrained(name)",
        "eval(text)",
    ],
)
def test_such_calls_would_be_found(text):
    assert faults(text) != []
