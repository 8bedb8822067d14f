"""Takes what the pages link to outside docs/ into the site: records, modules, the licence.

A page is read on the site and in the repository alike, so its links are relative to the repository. What they lead to
is copied to ``repository/`` of the site, Markdown as pages, and so is whatever those pages link to.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

LINK = re.compile(r"(?<=\]\()([^)\s#]+)(?=[)#\s])")
PLACE = "repository/"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add every file that some page leads to."""
    root = Path(config.docs_dir).parent
    waiting = [file for file in files if file.src_uri.endswith(".md")]
    while waiting:
        page = waiting.pop()
        for target in _outside(page.content_string, page.src_uri, root):
            if files.get_file_from_path(PLACE + target) is None:
                copied = File.generated(config, PLACE + target, content=(root / target).read_bytes())
                files.append(copied)
                waiting += [copied] if target.endswith(".md") else []
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to the copies."""
    root, here = Path(config.docs_dir).parent, page.file.src_uri

    def replaced(found: re.Match[str]) -> str:
        target = _in_repository(found[0], here)
        inside = _page(target, root)
        return found[0] if inside is None else posixpath.relpath(inside, posixpath.dirname(here) or ".")

    return LINK.sub(replaced, markdown)


def _outside(markdown: str, here: str, root: Path) -> set[str]:
    """Paths in the repository of the files outside docs/ that a page links to."""
    targets = {_in_repository(link, here) for link in LINK.findall(markdown)}
    return {target for target in targets if not target.startswith("docs/") and _page(target, root) is not None}


def _in_repository(link: str, here: str) -> str:
    """The path in the repository that a link of a page means."""
    folder = posixpath.dirname(here.removeprefix(PLACE) if here.startswith(PLACE) else f"docs/{here}")
    return posixpath.normpath(posixpath.join(folder, link))


def _page(target: str, root: Path) -> str | None:
    """Where a file of the repository is on the site; None for what is no file, such as an address."""
    if not (root / target).is_file():
        return None
    return target.removeprefix("docs/") if target.startswith("docs/") else PLACE + target
