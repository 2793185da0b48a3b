"""Modules joined to one script: order, names, and forms that would break."""

from __future__ import annotations

import pytest

from hidden_two_stream.export.single_file import joined_modules, single_file
from hidden_two_stream.export.web import page_sources


def test_a_module_comes_after_those_that_it_imports() -> None:
    modules = {
        "app.js": 'import { b } from "./b.js";\nimport {\n  a,\n} from "./a.js";\n\nb(a);\n',
        "b.js": 'import { a } from "./a.js";\nexport function b(x) {\n  return a + x;\n}\n',
        "a.js": "export const a = 1;\n",
    }
    found = joined_modules(modules, "app.js")
    assert found.index("const a = 1;") < found.index("function b(x)") < found.index("b(a);")
    assert "import " not in found
    assert "export " not in found


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ('import { a } from "./a.js";\nconst a = 2;\n', "both define a"),
        ('import { a as b } from "./a.js";\n', "renames"),
        ('import * as a from "./a.js";\n', "another form"),
        ("export default 1;\n", "another form"),
        ('import { a } from "./app.js";\n', "import each other"),
    ],
)
def test_what_would_break_is_refused(source: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        joined_modules({"app.js": source, "a.js": "export const a = 1;\n"}, "app.js")


def test_the_page_s_modules_fit_into_one() -> None:
    sources = page_sources()
    modules = {name: text for name, text in sources.items() if name.endswith(".js") and name != "worker.js"}
    joined = joined_modules(modules, "app.js")
    for name in ("class Network", "class TeachPanel", "function fitHead", "startPage();"):
        assert name in joined


def test_the_file_links_nothing() -> None:
    sources = page_sources()
    modules = {name: text for name, text in sources.items() if name.endswith(".js") and name != "worker.js"}
    page = single_file(sources["index.html"], sources["style.css"], modules, {"model.json": b"{}"})
    assert 'href="style.css"' not in page
    assert "src=" not in page.split("<script type=")[0]
    assert 'data-asset="model.json"' in page
