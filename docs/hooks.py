"""What the site takes from elsewhere: the benchmarks, pictures, the gallery of figures/, the help of every command."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "figures"
BENCHMARKS = ROOT / "benchmarks" / "README.md"

#: The scales of the figures, those that say most first, and what each is.
SCALES = {
    "paper": "The paper's grids with all its datasets",
    "gpu": "Wider families on one GPU",
    "cpu": "Two to three hours on two cores, on data that needs no network",
    "smoke": "Two minutes: whether everything runs, not what it shows",
}

#: Code with a bar in a table: the repository's pages need it escaped, Python-Markdown shows the escape.
_CODE_IN_TABLE = re.compile(r"(?<=[|, ])`[^`\n]*\\\|[^`\n]*`")

#: Where the gallery and the commands' help go in their pages.
GALLERY, COMMANDS = "<!-- gallery -->", "<!-- commands -->"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add pictures and the benchmarks' page where they lie, so that none is kept twice."""
    for picture in sorted(FIGURES.glob("**/*.png")):
        files.append(File.generated(config, picture.relative_to(ROOT).as_posix(), abs_src_path=str(picture)))
    files.append(File.generated(config, "benchmarks.md", abs_src_path=str(BENCHMARKS)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Make links to files outside of docs/, which work in the repository, work in the site; fill what is generated."""
    markdown = markdown.replace("../benchmarks/README.md", "benchmarks.md").replace("../figures/", "figures/")
    markdown = _CODE_IN_TABLE.sub(lambda found: found[0].replace("\\|", "|"), markdown)
    if page.file.src_uri == "gallery.md":
        markdown = _filled(markdown, page, GALLERY, gallery(FIGURES))
    if page.file.src_uri == "commands.md":
        markdown = _filled(markdown, page, COMMANDS, command_help())
    return markdown


def _filled(markdown: str, page: Page, mark: str, text: str) -> str:
    if mark not in markdown:
        raise PluginError(f"{page.file.src_uri} must say where what is generated goes, got no {mark}; add that line")
    return markdown.replace(mark, text)


def command_help() -> str:
    """What `--help` of `emc` and of each of its commands prints, a heading each, as Markdown."""
    from emc.cli.main import main

    return "\n\n".join(_helps("emc", main))


def _helps(name: str, command: click.Command, parent: click.Context | None = None) -> Iterator[str]:
    context = command.make_context(name, [], parent, resilient_parsing=True, terminal_width=100)
    yield f"## {context.command_path}\n\n```text\n{context.get_help()}\n```"
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            member = command.get_command(context, each)
            if member is None:
                raise PluginError(f"{context.command_path} must have the commands it lists, got none named {each}")
            yield from _helps(each, member, context)


def gallery(figures: Path) -> str:
    """The pictures of every scale with their captions, in the order of `captions.json`, as Markdown.

    Args:
        figures: a folder of folders, one a scale, each with PNG files and `captions.json` (file stem to title and
            caption).

    Raises:
        PluginError: a picture without a caption, a caption without a picture, or captions that are no such mapping.
    """
    found = [(scale, folder) for scale in SCALES if any((folder := figures / scale).glob("*.png"))]
    parts = ["\n".join(_section(scale, folder)) for scale, folder in found]
    missing = [scale for scale in SCALES if scale not in dict(found)]
    if missing:
        commands = "\n".join(f"    make figures SCALE={scale}" for scale in missing)
        parts.append(f"Not drawn here, and the commands that draw them:\n\n{commands}")
    return "\n\n".join(parts)


def _section(scale: str, folder: Path) -> Iterator[str]:
    captions = _captions(folder)
    yield f"## {SCALES[scale]}\n"
    yield f"Drawn by `make figures SCALE={scale}`.\n"
    for stem, told in captions.items():
        source = f"figures/{scale}/{stem}.png"
        heading = told["title"]
        yield f"### {heading} {{#{scale}-{re.sub(r'[^a-z0-9]+', '-', stem.lower())}}}\n"
        yield f"[![{html.escape(heading)}]({source}){{ loading=lazy }}]({source})\n\n{told['caption']}\n"
    claims = folder / "claims.md"
    if claims.exists():
        yield f"### The paper's claims, on these measurements {{#{scale}-claims}}\n"
        yield f"By `emc claims figures/{scale}/journal.jsonl.gz --format markdown`.\n"
        yield claims.read_text(encoding="utf-8")


def _is_told(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(name), str) for name in ("title", "caption"))


def _captions(folder: Path) -> dict[str, dict[str, str]]:
    path, stems = folder / "captions.json", {picture.stem for picture in folder.glob("*.png")}
    try:
        captions = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PluginError(f"pictures have captions in {path}, got {error}; write it") from None
    if not isinstance(captions, dict) or not all(map(_is_told, captions.values())):
        wanted = "a picture's name without .png to its title and caption"
        raise PluginError(f"{path} maps {wanted}, got something else; mend it")
    if captions.keys() != stems:
        odd = ", ".join(sorted(captions.keys() ^ stems))
        raise PluginError(f"every picture has a caption and every caption a picture, got {odd} alone in {folder}")
    return captions
