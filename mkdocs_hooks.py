"""Hooks of the documentation site (mkdocs.yml): pages that are made of files outside docs/.

The home page is README.md, the API reference is made of docstrings, and notebooks and some files
that pages link to become pages, too. Their links, which lead somewhere in the repository, lead to
the site's pages.
"""

import base64
import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent
# Files of the repository by the pages that they become
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "tmkt/quick/README.md": "quick-demo.md",
    "examples/README.md": "examples.md",
}
NOTEBOOKS = {
    path.relative_to(ROOT).as_posix(): f"notebooks/{path.stem}.md"
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
}
# The public interface, and what its functions give
API = {
    "Functions": [
        f"tmkt.deploy.api.{name}"
        for name in ("load", "read_recordings", "run", "evaluate", "trace", "parity", "energy")
    ],
    "Bundles and runs": [
        "tmkt.bundle.Bundle",
        "tmkt.runs.Run",
        "tmkt.events.frames.InputContract",
        "tmkt.program.model.Program",
        "tmkt.program.model.Layer",
        "tmkt.program.model.Synapse",
    ],
    "Results": [
        "tmkt.deploy.api.Recordings",
        "tmkt.deploy.api.Parity",
        "tmkt.deploy.api.EnergyEstimate",
        "tmkt.deploy.engines.types.EngineOutput",
        "tmkt.deploy.evaluate.Evaluation",
        "tmkt.deploy.parity.report.EngineReport",
        "tmkt.deploy.trace.Trace",
    ],
    "Errors": ["tmkt.errors.InputError"],
}


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not in docs/."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=_linked(text, source, page)))
    for source, page in NOTEBOOKS.items():
        text = notebook_page(json.loads((ROOT / source).read_text(encoding="utf-8")))
        download = f"[This page as a notebook]({posixpath.basename(source)}), with its outputs."
        content = _linked(text, source, page).replace("\n", f"\n\n{download}\n", 1)
        files.append(File.generated(config, page, content=content))
    files.append(File.generated(config, "api.md", content=api_page()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead links of pages in docs/ that leave it to the pages that their targets become."""
    source = page.file.src_uri
    if source in (*PAGES.values(), *NOTEBOOKS.values(), "api.md"):
        return markdown
    return _linked(markdown, f"docs/{source}", source)


def notebook_page(notebook: dict[str, Any]) -> str:
    """Make Markdown of a notebook: its texts, its code and what this printed or drew."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        shell = source.removeprefix("%%bash\n")
        parts.append(f"```{'python' if shell == source else 'sh'}\n{shell}\n```")
        parts += [_output(output) for output in cell["outputs"]]
    return "\n\n".join(parts) + "\n"


def _output(output: dict[str, Any]) -> str:
    """Show an output of a cell: text, or a picture."""
    if output["output_type"] == "stream":
        return f"```text\n{''.join(output['text']).strip(chr(10))}\n```"
    svg = output["data"].get("image/svg+xml")
    if svg is None:
        return f"```text\n{''.join(output['data']['text/plain'])}\n```"
    data = base64.b64encode("".join(svg).encode()).decode()
    return f'<img alt="the chart that the code above draws" src="data:image/svg+xml;base64,{data}">'


def api_page() -> str:
    """Make the page of the public interface, for mkdocstrings."""
    parts = ["# Python interface", "Made from the docstrings; [From Python](python.md) shows it."]
    for title, names in API.items():
        parts += [
            f"## {title}",
            *(f"::: {name}\n    options: {{heading_level: 3}}" for name in names),
        ]
    return "\n\n".join(parts) + "\n"


def _linked(text: str, source: str, own_page: str) -> str:
    """Rewrite the links of a file of the repository for its page of the site."""

    def lead(found: re.Match[str]) -> str:
        path, mark, anchor = found[2].partition("#")
        if not path or ":" in path:
            return found[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        page = (PAGES | NOTEBOOKS).get(target, target.removeprefix("docs/"))
        if page == target:  # a file of the repository that the site does not have
            return f"`{found[1]}`"
        page = posixpath.relpath(page, posixpath.dirname(own_page) or ".")
        return f"[{found[1]}]({page}{mark}{anchor})"

    return re.sub(r"\[([^\]]*)\]\(([^)\s]+)\)", lead, text)
